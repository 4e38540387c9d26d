"""Photographs in, faces with attributes and masks out."""
