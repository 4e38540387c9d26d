"""The model that comes with the package: how it is made, and its card."""
