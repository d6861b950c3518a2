from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphrec
from graphrec.data.dataset import Dataset
from modalities._base.errors import InputError
from modalities.corruptions import Drop, Noise, Shuffle
from modalities.transforms import Table, make_transform


def table(n: int = 50) -> Table:
    random = np.random.default_rng(0)
    present = np.ones(n, bool)
    present[[3, 7]] = False
    values = random.normal(2, 3, size=(n, 6)).astype(np.float32)
    values[~present] = 0
    return Table(values, present)


def test_dropped_rows_are_absent_and_nested() -> None:
    before = table()
    gone = []
    for share in (0.0, 0.25, 0.5, 1.0):
        after = Drop(share, seed=1).apply({}, before)
        assert after.present.sum() == 48 - round(share * 48)
        assert not after.values[~after.present].any()
        np.testing.assert_array_equal(after.values[after.present], before.values[after.present])
        gone.append(set(np.flatnonzero(before.present & ~after.present)))
    assert gone[0] < gone[1] < gone[2] < gone[3]
    assert gone[1] != set(np.flatnonzero(~Drop(0.25, seed=2).apply({}, before).present)) - {3, 7}


def test_noise_is_as_large_as_asked() -> None:
    before = table(4000)
    noise = Noise(0.5)
    state = noise.fit(before.values[before.present])
    after = noise.apply(state, before)
    added = (after.values - before.values)[before.present]
    spread = before.values[before.present].std(0)
    assert state["deviation"][0] == pytest.approx(np.sqrt((spread**2).mean()), rel=1e-5)
    assert added.std() == pytest.approx(0.5 * state["deviation"][0], rel=0.02)
    assert not after.values[~after.present].any()
    np.testing.assert_array_equal(Noise(0.0).apply(state, before).values, before.values)


def test_shuffled_rows_stay_the_same_rows() -> None:
    before = table()
    after = Shuffle(3).apply({}, before)
    np.testing.assert_array_equal(after.present, before.present)
    known = before.present
    np.testing.assert_array_equal(np.sort(after.values[known], 0), np.sort(before.values[known], 0))
    assert (after.values[known] != before.values[known]).any(1).mean() > 0.8


def test_a_share_of_the_rows_is_shuffled() -> None:
    before = table()
    moved = []
    for share in (0.0, 0.25, 0.5):
        after = Shuffle(3, share).apply({}, before)
        moved.append(set(np.flatnonzero((after.values != before.values).any(1))))
        assert len(moved[-1]) <= round(share * 48)
        np.testing.assert_array_equal(np.sort(after.values, 0), np.sort(before.values, 0))
    assert not moved[0]
    assert len(moved[1]) > 8
    assert len(moved[2]) > 18
    with pytest.raises(InputError, match="share from 0 to 1"):
        Shuffle(0, 1.5)


@pytest.mark.parametrize("text", ["drop:0.3:2", "noise:0.5:0", "shuffle:1", "shuffle:1:0.25"])
def test_texts_read_back(text: str) -> None:
    assert make_transform(text).name == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drop", "form drop:SHARE"),
        ("drop:1.5", "from 0 to 1"),
        ("drop:nan", "from 0 to 1"),
        ("noise:-1", "0 or more"),
        ("shuffle:-1", "must not be negative"),
        ("shufle", "did you mean 'shuffle'"),
    ],
)
def test_malformed(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_transform(text)


def test_a_run_trains_on_spoilt_features(small_dataset: Dataset, tmp_path: Path) -> None:
    features = {"use": ["text"], "text": {"transforms": ["drop:0.5:1", "noise:0.1"]}}
    run = graphrec.train(
        small_dataset,
        "freedom",
        tmp_path / "run",
        features=features,
        training={"epochs": 1},
        progress=False,
        k=3,
        dim=4,
    )
    made = run.folder.prepare(small_dataset, run.folder.experiment())
    assert made.features["text"].present.sum() == 15
    assert run.evaluate("valid", small_dataset)["recall@20"] == run.metrics["valid"]["recall@20"]
