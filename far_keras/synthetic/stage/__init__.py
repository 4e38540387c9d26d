"""Scene, camera, light and pixels: all that a picture needs besides its subject."""
