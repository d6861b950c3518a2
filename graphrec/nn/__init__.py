"""Small, pure, reusable parts of models.

- `propagation`: linear propagation on a graph, its layers combined or weighted by what is learnt
- `ngcf`: `NGCFPropagation`, with weights, affinities and activations
- `fusion`: streams added, attended or weighted per user; interpolation on the sphere
- `similarity`: inner products, norms and cosines
- `losses`: BPR and regularisers
- `contrast`: sampled softmax, alignment, (calibrated) uniformity, contrast of two views
- `ranking`: exact masked top-k in blocks of users
- `projection`: item features to embedding space, missing rows masked
"""

from graphrec.nn.contrast import (
    alignment,
    calibrated_uniformity,
    node_contrast,
    sampled_softmax,
    uniformity,
)
from graphrec.nn.fusion import (
    ProgressiveWeightCopying,
    SphericalMixture,
    StreamAttention,
    UserWeights,
    WeightedSum,
    slerp,
    spherical_bezier,
)
from graphrec.nn.losses import bpr_loss, embedding_norm
from graphrec.nn.ngcf import NGCFPropagation
from graphrec.nn.projection import ContentNetwork, FeatureProjection, JoinedFeatures
from graphrec.nn.propagation import LayerWeights, propagate
from graphrec.nn.similarity import all_scores, chosen_scores, normalised, pair_scores

__all__ = [
    "ContentNetwork",
    "FeatureProjection",
    "JoinedFeatures",
    "LayerWeights",
    "NGCFPropagation",
    "ProgressiveWeightCopying",
    "SphericalMixture",
    "StreamAttention",
    "UserWeights",
    "WeightedSum",
    "alignment",
    "all_scores",
    "bpr_loss",
    "calibrated_uniformity",
    "chosen_scores",
    "embedding_norm",
    "node_contrast",
    "normalised",
    "pair_scores",
    "propagate",
    "sampled_softmax",
    "slerp",
    "spherical_bezier",
    "uniformity",
]
