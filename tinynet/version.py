"""The version of tinynet, where every part of it can ask."""

__version__ = "0.1.0"
