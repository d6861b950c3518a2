"""Item encoders and the feature store; nothing here knows graphrec.

- `protocol`: what an encoder is
- `encoders`: one file per family, and `registry`: from a name to an encoder
- `presets`: what is known of published models
- `content`: texts cleaned, pictures opened safely; `template`: texts from columns
- `encoding`: items to a store in memory; `job`: on disk, resumable, shared by processes
- `captioner`, `captions`: pictures to texts
- `store`: `FeatureStore`, aligned by item id, memory-mapped; `parts`, `layout`: its files
- `verify`: a store checked byte by byte; `statistics`: what its rows are like
- `transforms`: centring, PCA, whitening, imputation when features are loaded
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalities.encoders.clip import ClipEncoder
    from modalities.encoders.hashing import HashingText
    from modalities.encoders.pictures import PictureDescriptor
    from modalities.encoders.registry import make_encoder, register_encoder
    from modalities.encoders.sentence import SentenceEncoder
    from modalities.encoders.tfidf import TfidfSvd
    from modalities.encoding import encode, encode_items, summary
    from modalities.job import EncodingJob
    from modalities.protocol import Content, Encoder, EncoderSpec, Modality, Pair
    from modalities.statistics import FeatureStatistics, feature_statistics
    from modalities.store import FeatureStore, Nonfinite

__all__ = [
    "ClipEncoder",
    "Content",
    "Encoder",
    "EncoderSpec",
    "EncodingJob",
    "FeatureStatistics",
    "FeatureStore",
    "HashingText",
    "Modality",
    "Nonfinite",
    "Pair",
    "PictureDescriptor",
    "SentenceEncoder",
    "TfidfSvd",
    "encode",
    "encode_items",
    "feature_statistics",
    "make_encoder",
    "register_encoder",
    "summary",
]

_HOMES = {
    "ClipEncoder": "modalities.encoders.clip",
    "Content": "modalities.protocol",
    "Encoder": "modalities.protocol",
    "EncoderSpec": "modalities.protocol",
    "EncodingJob": "modalities.job",
    "FeatureStatistics": "modalities.statistics",
    "FeatureStore": "modalities.store",
    "HashingText": "modalities.encoders.hashing",
    "Modality": "modalities.protocol",
    "Nonfinite": "modalities.store",
    "Pair": "modalities.protocol",
    "PictureDescriptor": "modalities.encoders.pictures",
    "SentenceEncoder": "modalities.encoders.sentence",
    "TfidfSvd": "modalities.encoders.tfidf",
    "encode": "modalities.encoding",
    "encode_items": "modalities.encoding",
    "feature_statistics": "modalities.statistics",
    "make_encoder": "modalities.encoders.registry",
    "register_encoder": "modalities.encoders.registry",
    "summary": "modalities.encoding",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `graphrec --help` does not wait for NumPy and Polars.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'modalities' has no attribute '{name}'")
