"""Encoders: content in, vectors out; one file per family.

- `registry`: from a name such as `st:intfloat/e5-base-v2` to an encoder
- `sentence`: texts, pictures or both through sentence-transformers
- `clip`: CLIP towers through open_clip
- `tfidf`, `hashing`: texts, without weights
- `pictures`: colour, texture and shape, without weights
"""
