"""How the model that comes with the package is made, and the shape of children's faces."""
