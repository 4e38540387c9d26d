"""Comparisons that take many trainings."""
