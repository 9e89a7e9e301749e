"""A Python package that only the green image has."""

COLOUR = "green"
