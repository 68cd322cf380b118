"""Figures, printed beside a baseline of the same run. Nothing here asserts a time."""
