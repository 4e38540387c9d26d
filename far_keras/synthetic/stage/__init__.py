"""Scene, camera, light and pixels: all that an image needs besides its subject."""
