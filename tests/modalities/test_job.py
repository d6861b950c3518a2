from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from modalities import EncoderSpec, EncodingJob, FeatureStore, Modality, summary
from modalities._base.errors import InputError
from modalities.content import ContentError
from modalities.encoders.hashing import HashingText
from modalities.inputs import Inputs
from modalities.parted import rank_and_world
from modalities.protocol import Pair
from modalities.verify import salvage

WORDS = [
    "red",
    "blue",
    "green",
    "wool",
    "silk",
    "steel",
    "scarf",
    "shirt",
    "bottle",
    "warm",
    "cold",
    "long",
    "short",
    "new",
    "old",
]
TEXTS = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 4)) + f" {i}" for i in range(40)]
TEXTS[7] = ""
IDS = [f"i{row}" for row in range(40)]


class Recording:
    """An encoder that remembers its batches and can fail on demand."""

    modality: Modality = "text"
    dim = 4

    def __init__(self, version: int = 1, limit: int | None = None) -> None:
        self.batches: list[list[str]] = []
        self.spec = EncoderSpec.of("recording", version=version)
        self.limit = limit

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        if self.limit is not None and len(batch) > self.limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if any("poison" in text for text in batch):
            raise ValueError("poison")
        self.batches.append(list(batch))
        rows = [[len(text), text.count("e"), text.count("r"), 1] for text in batch]
        return np.array(rows, dtype=np.float32)

    @property
    def seen(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


def job(path: Path, encoder: Any, texts: Sequence[Any] = TEXTS, **how: Any) -> EncodingJob:
    ids = how.pop("ids", IDS[: len(texts)])
    return EncodingJob(
        path, ids, texts, encoder=encoder, progress=False, **{"rows_per_part": 8, **how}
    )


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_store_holds_what_the_encoder_says(tmp_path: Path) -> None:
    outcome = job(tmp_path / "t", HashingText(dim=16)).run()
    store = FeatureStore.load(tmp_path / "t")
    assert outcome.waiting == 0
    assert outcome.done == len(set(TEXTS) - {""})
    assert summary(store) == "40 items: 39 encoded, 1 without text"
    direct = HashingText(dim=16).encode([TEXTS[3]])[0]
    np.testing.assert_array_equal(store.rows([3])[0], direct.astype(np.float16))
    assert store.dtype == np.float16
    assert store.spec["stored"] == "float16"
    assert not list(tmp_path.glob(".*"))


def test_batches_stay_in_their_part_and_are_sorted_by_length(tmp_path: Path) -> None:
    encoder = Recording()
    texts = [f"{'x' * (row % 5 + 1)} {row}" for row in range(20)]
    job(tmp_path / "t", encoder, texts, batch_size=3).run()
    parts = [set(texts[start : start + 8]) for start in range(0, 20, 8)]
    for batch in encoder.batches:
        assert len(batch) <= 3
        assert any(set(batch) <= part for part in parts)
    first = [len(text) for text in encoder.seen[:8]]
    assert first == sorted(first, reverse=True)


def test_equal_inputs_are_encoded_once(tmp_path: Path) -> None:
    encoder = Recording()
    texts = ["warm", "cold"] * 20
    outcome = job(tmp_path / "t", encoder, texts).run()
    assert sorted(encoder.seen) == ["cold", "warm"]
    assert outcome.done == 2
    assert np.unique(FeatureStore.load(tmp_path / "t").values(), axis=0).shape == (2, 4)


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording()).run()
    before = files(tmp_path / "t")
    encoder = Recording()
    outcome = job(tmp_path / "t", encoder).run()
    assert encoder.seen == []
    assert outcome.done == 0
    assert files(tmp_path / "t") == before


def test_only_new_and_changed_items_are_encoded(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording()).run()
    old = FeatureStore.load(tmp_path / "t").select(["i0", "i6", "i20"]).values()
    texts = ["a new one", *TEXTS[:4], "changed", *TEXTS[5:]]
    ids = ["new", *IDS]
    encoder = Recording()
    outcome = job(tmp_path / "t", encoder, texts, ids=ids).run()
    assert sorted(encoder.seen) == ["a new one", "changed"]
    assert outcome.reused == len(set(texts) - {"", "a new one", "changed"})
    new = FeatureStore.load(tmp_path / "t")
    assert new.item_ids == ids
    np.testing.assert_array_equal(new.select(["i0", "i6", "i20"]).values(), old)


def test_a_store_replaced_while_in_use_is_noticed(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording()).run()
    old = FeatureStore.load(tmp_path / "t")
    job(tmp_path / "t", Recording(), ["another", *TEXTS[1:]]).run()
    with pytest.raises(InputError, match="another file has taken its place; load it again"):
        old.rows([0])


def test_another_spec_is_refused_unless_replaced(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording(version=1)).run()
    with pytest.raises(InputError, match=r"version was 1, now 2.*--replace"):
        job(tmp_path / "t", Recording(version=2)).run()
    with pytest.raises(InputError, match="content was None, now"):
        job(tmp_path / "t", Recording(version=1), about={"content": "{title}"}).run()
    assert FeatureStore.load(tmp_path / "t").spec["version"] == 1
    job(tmp_path / "t", Recording(version=2), replace=True).run()
    assert FeatureStore.load(tmp_path / "t").spec["version"] == 2


def test_two_processes_share_the_parts(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole", Recording())
    whole.run()
    first, second = Recording(), Recording()
    early = job(tmp_path / "t", first, rank=0, world=2).run()
    assert early.waiting > 0
    assert not (tmp_path / "t").exists()
    late = job(tmp_path / "t", second, rank=1, world=2).run()
    assert late.waiting == 0
    assert set(first.seen).isdisjoint(second.seen)
    assert files(tmp_path / "t") == files(tmp_path / "whole")


def test_a_lone_process_finishes_what_others_left(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording(), rank=1, world=3).run()
    outcome = job(tmp_path / "t", Recording()).run()
    assert outcome.waiting == 0
    assert len(FeatureStore.load(tmp_path / "t")) == 40


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
import numpy as np
from modalities import EncodingJob
from tests_job import IDS, TEXTS, Recording

class Slow(Recording):
    def encode(self, batch):
        time.sleep(0.15)
        return super().encode(batch)

EncodingJob(Path({path!r}), IDS, TEXTS, encoder=Slow(), rows_per_part=8, batch_size=4,
            progress=False).run()
"""


def test_a_killed_job_continues_to_the_same_bytes(tmp_path: Path) -> None:
    job(tmp_path / "whole", Recording(), batch_size=4).run()
    (tmp_path / "tests_job.py").write_bytes(Path(__file__).read_bytes())
    root = str(Path(__file__).parents[2])
    code = KILLED.format(paths=[str(tmp_path), root], path=str(tmp_path / "t"))
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    work = tmp_path / ".t.partial"
    deadline = time.monotonic() + 60
    while len(list(work.glob("chunk-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(work.glob("chunk-*")))
    assert 2 <= done < 5
    encoder = Recording()
    job(tmp_path / "t", encoder, batch_size=4).run()
    assert 0 < len(encoder.seen) < len(set(TEXTS))
    assert files(tmp_path / "t") == files(tmp_path / "whole")


def test_a_half_written_chunk_is_done_again(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording(), rank=0, world=2).run()
    victim = sorted((tmp_path / ".t.partial").glob("chunk-*"))[0]
    data = bytearray(victim.read_bytes())
    data[-3] ^= 0xFF
    victim.write_bytes(data)
    encoder = Recording()
    job(tmp_path / "t", encoder).run()
    job(tmp_path / "whole", Recording()).run()
    assert files(tmp_path / "t") == files(tmp_path / "whole")


def test_only_a_damaged_part_is_redone(tmp_path: Path) -> None:
    texts = [f"text {row}" for row in range(24)]
    job(tmp_path / "t", Recording(), texts).run()
    whole = files(tmp_path / "t")
    victim = tmp_path / "t" / "part-000001.safetensors"
    data = bytearray(victim.read_bytes())
    data[-20] ^= 0x01
    victim.write_bytes(data)
    assert list(salvage(tmp_path / "t").damage) == [1]
    encoder = Recording()
    job(tmp_path / "t", encoder, texts).run()
    assert sorted(encoder.seen) == sorted(texts[8:16])
    assert files(tmp_path / "t") == whole
    assert not salvage(tmp_path / "t").damage


def test_a_missing_part_is_redone(tmp_path: Path) -> None:
    texts = [f"text {row}" for row in range(24)]
    job(tmp_path / "t", Recording(), texts).run()
    (tmp_path / "t" / "part-000002.safetensors").unlink()
    encoder = Recording()
    job(tmp_path / "t", encoder, texts).run()
    assert sorted(encoder.seen) == sorted(texts[16:])


def test_too_little_memory_halves_the_batch(tmp_path: Path) -> None:
    encoder = Recording(limit=3)
    outcome = job(tmp_path / "t", encoder, batch_size=16).run()
    assert outcome.halvings > 0
    assert "batch halved" in outcome.describe()
    assert max(len(batch) for batch in encoder.batches) <= 3
    job(tmp_path / "whole", Recording()).run()
    np.testing.assert_array_equal(
        FeatureStore.load(tmp_path / "t").values(), FeatureStore.load(tmp_path / "whole").values()
    )


def test_one_bad_input_costs_itself_alone_and_is_tried_again(tmp_path: Path) -> None:
    texts = [*TEXTS[:10], "poison"]
    job(tmp_path / "t", Recording(), texts).run()
    store = FeatureStore.load(tmp_path / "t")
    assert store.errors[10] == "encoder-failed"
    assert int(store.present.sum()) == 9
    assert job(tmp_path / "t", Recording(), texts).run().done == 1


def test_too_many_failures_stop_the_job(tmp_path: Path) -> None:
    texts = ["fine", *(f"poison {row}" for row in range(9))]
    with pytest.raises(InputError, match=r"9 of 10 .*encoder-failed.*poison.*--failures"):
        job(tmp_path / "t", Recording(), texts, rows_per_part=16).run()
    assert not (tmp_path / "t").exists()
    job(tmp_path / "t", Recording(), texts, rows_per_part=16, failure_limit=1.0).run()
    assert int(FeatureStore.load(tmp_path / "t").present.sum()) == 1


def test_values_beyond_half_precision_are_not_stored_as_infinity(tmp_path: Path) -> None:
    class Large(Recording):
        def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
            return np.array([[1e6 if "big" in t else 1.0] * 4 for t in batch], np.float32)

    job(tmp_path / "t", Large(), ["big", "small", "tiny"]).run()
    assert FeatureStore.load(tmp_path / "t").errors == ["not-finite", None, None]


def test_broken_pictures_are_not_opened_again(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("<html>")

    class Mean:
        modality: Modality = "image"
        dim = 3
        spec = EncoderSpec.of("mean")
        calls = 0

        def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
            self.calls += 1
            return np.array([np.asarray(p).mean((0, 1)) for p in batch], np.float32)

    encoder = Mean()
    contents = [tmp_path / "a.png", tmp_path / "b.png", None, tmp_path / "none.png"]
    job(tmp_path / "p", encoder, contents, workers=2).run()
    store = FeatureStore.load(tmp_path / "p")
    assert store.errors == [None, "not-a-picture", "missing", "missing"]
    assert store.rows([0]).tolist() == [[255, 0, 0]]
    assert job(tmp_path / "p", encoder, contents).run().done == 0
    assert encoder.calls == 1


def test_an_interrupted_swap_gets_its_store_back(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording()).run()
    os.replace(tmp_path / "t", tmp_path / ".t.previous")
    outcome = job(tmp_path / "t", Recording()).run()
    assert outcome.done == 0
    assert len(FeatureStore.load(tmp_path / "t")) == 40


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording()).run()
    path = tmp_path / "t" / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(InputError, match="format version 2"):
        job(tmp_path / "t", Recording()).run()


def test_nothing_to_encode_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 2 items has text content to encode: 2 missing"):
        job(tmp_path / "t", Recording(), ["", None]).run()


def test_processes_are_counted_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rank_and_world() == (0, 1)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rank_and_world() == (1, 4)
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(InputError, match="whole numbers"):
        rank_and_world()


def test_the_items_table_names_every_row(tmp_path: Path) -> None:
    job(tmp_path / "t", Recording()).run()
    table = pl.read_parquet(tmp_path / "t" / "items.parquet")
    assert table["item_id"].to_list() == IDS
    assert table["error"].to_list()[7] == "missing"
    assert table["digest"].n_unique() == len(set(TEXTS))


def test_two_processes_on_the_same_part_harm_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command twice at once: both finish, and the bytes are those of one."""
    job(tmp_path / "alone", Recording()).run()
    first, second = job(tmp_path / "t", Recording()), job(tmp_path / "t", Recording())
    original = first.work_on

    def while_the_other_works(*args: Any) -> Any:
        monkeypatch.undo()
        second.run()
        return original(*args)

    monkeypatch.setattr(first, "work_on", while_the_other_works)
    assert first.run().reused == len(set(TEXTS) - {""})
    assert files(tmp_path / "t") == files(tmp_path / "alone")


def test_a_pipe_is_not_read_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    inputs = Inputs.identify([tmp_path / "pipe.png", Path("/dev/zero")], "image")
    assert inputs.errors == ["unreadable", "unreadable"]


def test_a_pair_counts_with_what_it_has(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("<html>")
    good, bad, none = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "none.png"
    pairs = [Pair("a", good), Pair("a", bad), Pair("a", none), Pair(None, bad), Pair(None, None)]
    inputs = Inputs.identify(pairs, "joint")
    assert inputs.errors == [None, None, None, None, "missing"]
    opened = [inputs.open(row) for row in range(3)]
    assert all(isinstance(pair, Pair) and pair.text == "a" for pair in opened)
    assert [pair.picture is not None for pair in opened] == [True, False, False]  # type: ignore[union-attr]
    with pytest.raises(ContentError, match="not-a-picture"):
        inputs.open(3)
    assert inputs.digests[0] != inputs.digests[1]
