"""What `modalities` and `graphrec` share: errors, atomic files, identities, progress.

Internal: the one part of `modalities` that `graphrec` imports beyond its public API.
"""
