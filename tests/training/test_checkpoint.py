from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphrec.training import checkpoint
from graphrec.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from modalities._base.errors import InputError


def test_dying_between_the_files_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, Progress(epoch=1), {"w": torch.tensor([1.0])})

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, Progress(epoch=2), {"w": torch.tensor([2.0])})
    progress, tensors = load_checkpoint(tmp_path)
    assert progress.epoch == 1
    assert tensors["w"].item() == 1
    save_checkpoint(tmp_path, Progress(epoch=2), {"w": torch.tensor([3.0])})
    assert load_checkpoint(tmp_path)[1]["w"].item() == 3
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_best_value_survives_at_full_precision(tmp_path: Path) -> None:
    value = 0.1 + 1e-16 + 2 / 3
    save_checkpoint(tmp_path, Progress(epoch=1, best_value=value), {"w": torch.zeros(1)})
    assert load_checkpoint(tmp_path)[0].best_value == value


def test_damage_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, Progress(epoch=1), {"w": torch.zeros(100)})
    file = next(tmp_path.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match=r"is damaged.*remove this folder to train"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "graphrec.checkpoint", "version": 1}'])
def test_a_damaged_state_is_one_clear_error(tmp_path: Path, text: str) -> None:
    save_checkpoint(tmp_path, Progress(epoch=1), {"w": torch.zeros(1)})
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(InputError, match=r"is damaged.*remove this folder"):
        load_checkpoint(tmp_path)
