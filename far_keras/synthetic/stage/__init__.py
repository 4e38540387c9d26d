"""Scene, camera, light and pixels: all that an image needs apart from the person."""
