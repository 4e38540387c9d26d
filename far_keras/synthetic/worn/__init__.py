"""Clothes, glasses, hats and jewellery."""
