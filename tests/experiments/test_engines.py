from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graphrec.cli import main
from graphrec.experiments.engines import LocalEngine, engine_named
from modalities import extras
from modalities._base.errors import InputError, UnknownNameError


def test_an_engine_by_name() -> None:
    assert isinstance(engine_named(), LocalEngine)
    with pytest.raises(UnknownNameError, match=r"unknown engine 'dask'.* Valid: local, ray"):
        engine_named("dask")


def test_an_address_is_for_ray() -> None:
    with pytest.raises(InputError, match="--address goes with --engine ray"):
        engine_named("local", "auto")


def test_without_ray_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=r'pip install "graphrec\[ray\]"'):
        engine_named("ray")


def test_the_command_refuses_before_it_does_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["graphrec", "ablate", "encoders", "--out", str(tmp_path / "out"), "--engine", "rya"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == (
        "graphrec: unknown engine 'rya'; did you mean 'ray'? Valid: local, ray\n"
    )
    assert not (tmp_path / "out").exists()
