"""The version, of which all else is told."""

__version__ = "0.2.0.dev0"
