"""Videos: read frame by frame, faces followed from frame to frame, an annotated copy written."""
