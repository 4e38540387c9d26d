"""What answers aligned faces: a model folder, a SavedModel, a .tflite file, or a server."""
