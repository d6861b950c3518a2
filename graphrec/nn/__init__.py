"""Small, pure, reusable parts of models.

- `propagation`: `propagate`, linear propagation on a graph
- `ngcf`: `NGCFPropagation`, with weights, affinities and activations
- `similarity`: inner products, norms and cosines
- `losses`: BPR and regularisers
- `projection`: item features to embedding space, missing rows masked
"""

from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.ngcf import NGCFPropagation
from graphrec.nn.projection import FeatureProjection, JoinedFeatures
from graphrec.nn.propagation import propagate
from graphrec.nn.similarity import all_scores, normalised, pair_scores

__all__ = [
    "FeatureProjection",
    "JoinedFeatures",
    "NGCFPropagation",
    "all_scores",
    "bpr_loss",
    "embedding_norm",
    "normalised",
    "pair_scores",
    "propagate",
]
