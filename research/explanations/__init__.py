"""Where in the image a network's predictions come from."""
