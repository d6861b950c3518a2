"""Compositions of `modular` by name: published models, and the one recommended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphrec.models import cm3, lirdrec, mmhcl

LIGHTGCN = {
    "streams": {"identity": {}},
    "propagation": {"name": "lightgcn", "layers": 3},
    "item_graph": "none",
    "fusion": "concat",
    "branches": {},
    "losses": {"bpr": 1.0, "reg": {"weight": 1e-4, "form": "norm"}},
}

FREEDOM = {
    "streams": {"identity": {}},
    "propagation": {"name": "lightgcn", "layers": 2, "drop_ratio": 0.8},
    "item_graph": {"name": "knn", "applied": "identities"},
    "fusion": "concat",
    "branches": {},
    "losses": {"bpr": 1.0, "content": 1e-3},
}

MMHCL = {
    "streams": {"identity": {}},
    "propagation": {"name": "lightgcn", "layers": 2},
    "item_graph": "none",
    "fusion": "concat",
    "branches": {"user_hypergraph": {}, "item_hypergraph": {}},
    "losses": {
        "bpr": 1.0,
        "reg": {"weight": 1e-5, "form": "l2", "of": "outputs"},
        "contrast_user": 0.3,
        "contrast_item": 0.7,
    },
    "epoch": "users",
    "pool": "all",
}

CM3 = {
    "streams": {"modalities": {}, "mixture": {}},
    "propagation": {"name": "lightgcn", "layers": 3, "readout": "sum"},
    "item_graph": {"name": "knn", "applied": "propagated"},
    "fusion": "user_weights",
    "branches": {},
    "losses": {
        "alignment": 1.0,
        "uniform_users": 0.25,
        "calibrated_items": {"weight": 0.25, "content": "mixture"},
    },
}

LIRDREC = {
    "streams": {"modalities": {}, "joined": {"transform": "dct_rows"}},
    "propagation": {"name": "lightgcn", "layers": 2, "readout": "sum"},
    "item_graph": {"name": "knn", "applied": "propagated"},
    "fusion": "progressive",
    "branches": {},
    "losses": {"bpr": 1.0, "mean_square": 1e-4},
}

# Found on validation data alone; see benchmarks/recipe.py and docs/models.md.
RECOMMENDED = {
    "streams": {"identity": {}},
    "propagation": {"name": "lightgcn", "layers": 3},
    "item_graph": {"name": "knn", "applied": "identities", "norm": "symmetric"},
    "fusion": "concat",
    "branches": {"item_hypergraph": {}},
    "losses": {"softmax": {"weight": 1.0, "cosine": False, "temperature": 1.0}, "reg": 1e-4},
    "negatives": 64,
}

NONE: dict[str, Any] = {
    "streams": {},
    "propagation": "none",
    "item_graph": "none",
    "fusion": "concat",
    "branches": {},
    "losses": {},
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": NONE,
    "recommended": RECOMMENDED,
    "lightgcn": LIGHTGCN,
    "freedom": FREEDOM,
    "mmhcl": MMHCL,
    "cm3": CM3,
    "lirdrec": LIRDREC,
}

TRAINING: Mapping[str, Mapping[str, Any]] = {
    "recommended": {"lr": 3e-3},
    "mmhcl": mmhcl.MMHCL.training_defaults,
    "cm3": cm3.CM3.training_defaults,
    "lirdrec": lirdrec.LIRDRec.training_defaults,
}
