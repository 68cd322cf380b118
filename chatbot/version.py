"""The version, in one place, importable for nothing."""

__version__ = "0.1.0"
