"""Compares networks and trainings over several seeds and training-set sizes."""
