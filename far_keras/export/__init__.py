"""A model as files for others to run: SavedModel for TF Serving, .tflite for phones.

Importing this package is cheap; what needs TensorFlow is loaded when it is first used.
"""
