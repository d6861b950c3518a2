from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from modalities._base.errors import InputError
from modalities.hub import check_weights, fetch, library_versions, weights_digest


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert fetch(tmp_path) == tmp_path
    assert fetch(str(tmp_path), "abc") == tmp_path


def test_what_is_neither_folder_nor_id(tmp_path: Path) -> None:
    for name in ("nothing", "a/b/c", "../x", str(tmp_path / "none")):
        with pytest.raises(InputError, match="neither a folder nor the id"):
            fetch(name)


def test_out_of_reach_says_how_to_work_offline() -> None:
    with pytest.raises(InputError, match=r"hf download a/b --revision 123 --local-dir"):
        fetch("a/b", "123")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedRepoError", "accept its licence at https://huggingface.co/a/b"),
        ("RepositoryNotFoundError", "has no model 'a/b'"),
        ("RevisionNotFoundError", "has no model 'a/b' at 123"),
        ("HfHubHTTPError", "cannot be reached"),
    ],
)
def test_what_the_hub_may_answer(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    import huggingface_hub

    def refuse(*args: Any, **kwargs: Any) -> str:
        kind = getattr(huggingface_hub.errors, name)
        error = kind.__new__(kind)  # what it is made from differs between releases
        error.args = ("no",)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=message):
        fetch("a/b", "123")


def test_the_digest_of_one_file_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weights_digest(tmp_path) == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "model-2.safetensors").write_bytes(b"more")
    assert weights_digest(tmp_path) != hashlib.sha256(b"weights").hexdigest()


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights"):
        weights_digest(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickle that can run code"):
        weights_digest(tmp_path)


def test_random_weights_are_refused() -> None:
    check_weights({"missing_keys": {"pooler.dense.weight"}, "mismatched_keys": set()}, "m")
    with pytest.raises(InputError, match=r"lacks 1 of its weights \(layer.0.weight\)"):
        check_weights({"missing_keys": {"layer.0.weight"}}, "m")
    with pytest.raises(InputError, match="lacks 1 of its weights"):
        check_weights({"missing_keys": set(), "mismatched_keys": {("w", (1,), (2,))}}, "m")


def test_versions_of_what_is_installed() -> None:
    assert set(library_versions("numpy", "no-such-package")) == {"numpy_version"}
