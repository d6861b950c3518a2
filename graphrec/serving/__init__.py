"""A run in use: recommend, evaluate, export."""

from graphrec.serving.run import Run, load_run

__all__ = ["Run", "load_run"]
