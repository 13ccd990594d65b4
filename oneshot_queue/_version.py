"""The version: a literal, in this file only."""

__version__ = "0.1.0"
