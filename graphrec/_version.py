"""The version of graphrec."""

__version__ = "0.1.0"
