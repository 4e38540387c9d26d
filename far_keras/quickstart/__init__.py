"""The whole pipeline in one command, with an HTML report."""
