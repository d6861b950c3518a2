"""Recommenders, one file per published model, and the registry that names them."""

from graphrec.models.base import Embeddings, NotInductiveError, Recommender
from graphrec.models.registry import (
    Option,
    model_class,
    model_names,
    model_options,
    model_source,
    model_summary,
    register,
)
from graphrec.models.signature import config_class

__all__ = [
    "Embeddings",
    "NotInductiveError",
    "Option",
    "Recommender",
    "config_class",
    "model_class",
    "model_names",
    "model_options",
    "model_source",
    "model_summary",
    "register",
]
