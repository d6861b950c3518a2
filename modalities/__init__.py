"""Item encoders and the feature store; nothing here knows graphrec.

- `protocol`: what an encoder is
- `text`: `TfidfSvd`, the weights-free default for text
- `pictures`: `PictureDescriptor`, the weights-free default for pictures
- `content`: texts cleaned, pictures opened safely
- `encode`: items to a store
- `store`: `FeatureStore`, aligned by item id, memory-mapped; `parts`, `layout`: its files
- `statistics`: coverage, repeated rows and norms of a store
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalities.encode import encode_items, summary
    from modalities.pictures import PictureDescriptor
    from modalities.protocol import Content, Encoder, EncoderSpec, Modality
    from modalities.statistics import FeatureStatistics, feature_statistics
    from modalities.store import FeatureStore, Nonfinite
    from modalities.text import TfidfSvd

__all__ = [
    "Content",
    "Encoder",
    "EncoderSpec",
    "FeatureStatistics",
    "FeatureStore",
    "Modality",
    "Nonfinite",
    "PictureDescriptor",
    "TfidfSvd",
    "encode_items",
    "feature_statistics",
    "summary",
]

_HOMES = {
    "Content": "modalities.protocol",
    "Encoder": "modalities.protocol",
    "EncoderSpec": "modalities.protocol",
    "FeatureStatistics": "modalities.statistics",
    "FeatureStore": "modalities.store",
    "Modality": "modalities.protocol",
    "Nonfinite": "modalities.store",
    "PictureDescriptor": "modalities.pictures",
    "TfidfSvd": "modalities.text",
    "encode_items": "modalities.encode",
    "feature_statistics": "modalities.statistics",
    "summary": "modalities.encode",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `graphrec --help` does not wait for NumPy and Polars.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modalities' has no attribute '{name}'")
