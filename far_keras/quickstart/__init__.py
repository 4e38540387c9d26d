"""The whole way in one command, on one page."""
