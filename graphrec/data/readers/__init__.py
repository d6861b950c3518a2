"""Readers of public formats; each returns a `Source`.

- `mmrec`: `read_mmrec`, MMRec folders (`NAME.inter`, `NAME_feat.npy`)
- `tables`: `read_tables`, CSV, TSV, Parquet, pandas and Polars frames, picture folders
- `amazon`: `read_amazon`, raw reviews and metadata of 2014, 2018 and 2023
- `recbole`: `read_recbole`, atomic files
- `visual`: `read_visual_features`, binary picture features
- `recognise`: `read_source`, the format found by looking
"""

from graphrec.data.readers.amazon import read_amazon
from graphrec.data.readers.mmrec import read_mmrec
from graphrec.data.readers.recbole import read_recbole
from graphrec.data.readers.recognise import read_source
from graphrec.data.readers.tables import read_tables
from graphrec.data.readers.visual import read_visual_features

__all__ = [
    "read_amazon",
    "read_mmrec",
    "read_recbole",
    "read_source",
    "read_tables",
    "read_visual_features",
]
