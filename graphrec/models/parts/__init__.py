"""Parts `modular` is assembled from, each chosen by name.

- `streams`: identities, modalities, joined features, spherical mixture
- `propagation`: on the user-item graph
- `item_graphs`: frozen item-item graphs
- `fusion`: of the streams' blocks
- `branches`: hypergraphs
- `terms`: of the loss
"""

from graphrec.models.parts import branches, fusion, item_graphs, propagation, streams, terms
from graphrec.models.parts.base import Block, Part, Plan, State
from graphrec.models.parts.registry import (
    KINDS,
    complete_part,
    part_class,
    part_names,
    register_part,
)

__all__ = [
    "KINDS",
    "Block",
    "Part",
    "Plan",
    "State",
    "branches",
    "complete_part",
    "fusion",
    "item_graphs",
    "part_class",
    "part_names",
    "propagation",
    "register_part",
    "streams",
    "terms",
]
