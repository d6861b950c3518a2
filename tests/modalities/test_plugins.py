from __future__ import annotations

import os
from pathlib import Path

import pytest

from modalities import make_encoder
from modalities._base.errors import InputError, UnknownNameError
from modalities._base.plugins import VARIABLE, add_plugins, load_plugins
from modalities.encoders.registry import encoder_families

ENCODER = """
from pathlib import Path
from modalities import EncoderSpec, make_encoder, register_encoder
import numpy as np

Path(__file__).with_suffix(".log").open("a").write("imported\\n")

@register_encoder("{name}")
class Constant:
    modality = "text"
    dim = 1
    spec = EncoderSpec.of("{name}", version=1)

    def encode(self, batch):
        return np.ones((len(batch), 1), np.float32)

make_encoder("{name}")
"""


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_a_file_is_imported_once_and_named_to_later_processes(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(ENCODER.format(name="constant-of-a-file"))
    with pytest.raises(UnknownNameError):
        make_encoder("constant-of-a-file")
    for _ in range(2):
        add_plugins([os.path.relpath(file), "json"])
    assert hasattr(make_encoder("constant-of-a-file"), "encode")
    assert "constant-of-a-file" in encoder_families()
    assert file.with_suffix(".log").read_text() == "imported\n"
    assert os.environ[VARIABLE].split(os.pathsep) == [str(file), "json"]


def test_the_environment_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text(ENCODER.format(name="constant-of-the-environment"))
    monkeypatch.setenv(VARIABLE, str(file))
    assert "constant-of-the-environment" in encoder_families()


def test_one_file_under_two_spellings_is_one_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(ENCODER.format(name="constant-of-two-spellings"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, f" mine.py {os.pathsep}{os.pathsep}")
    add_plugins([str(file)])
    assert file.with_suffix(".log").read_text() == "imported\n"
    assert os.environ[VARIABLE] == str(file)


def test_what_cannot_be_imported_is_told_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    with pytest.raises(InputError, match=r"plugin '.*mine.py': the file does not exist"):
        add_plugins([str(file)])
    load_plugins()
    file.write_text("raise ValueError('one\\ntwo')")
    with pytest.raises(InputError, match=r"mine.py' cannot be imported: ValueError: one two$"):
        add_plugins([str(file)])
    file.write_text("raise SystemExit(3)")
    with pytest.raises(InputError, match="SystemExit: 3"):
        add_plugins([str(file)])
    file.write_text("")
    add_plugins([str(file)])
    with pytest.raises(InputError, match=r"plugin 'no_such_module' cannot be .*must end in \.py"):
        add_plugins(["no_such_module"])
    assert os.environ[VARIABLE] == str(file)
