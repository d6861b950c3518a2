from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphrec
from graphrec.evaluation.test_split import open_test, openings_of
from modalities._base.errors import InputError

DOOR = "evaluation/test_split.py"
MAKER = "data/splits.py"


@dataclass(frozen=True)
class Stub:
    interactions: Any
    split: Any
    n_users: int = 3
    n_items: int = 4
    data_id: str = "the-data"
    split_id: str = "the-split"


@pytest.fixture
def data() -> Stub:
    users, items = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 0, 3, 3])
    labels = np.array([0, 1, 2, 0, 2, 2], np.int8)
    return Stub(SimpleNamespace(users=users, items=items), SimpleNamespace(labels=labels))


def test_it_returns_the_test_items(data: Stub) -> None:
    held_out = open_test(data, None, reason="look")
    assert (held_out.part, held_out.users.tolist(), held_out.items.tolist()) == (
        "test",
        [0, 1],
        [2, 3],
    )
    assert held_out.n_dropped == 1


def test_each_opening_is_recorded(data: Stub, tmp_path: Path) -> None:
    record = tmp_path / "test_access.json"
    assert openings_of(record) == []
    for reason in ("first", "second"):
        open_test(data, record, reason=reason, config="the-settings")
    entries = openings_of(record)
    assert [entry.pop("reason") for entry in entries] == ["first", "second"]
    assert [entry.pop("counter") for entry in entries] == [1, 2]
    for entry in entries:
        age = datetime.now(timezone.utc) - datetime.fromisoformat(entry.pop("time"))
        assert timedelta(0) <= age < timedelta(minutes=1)
        ids = {"data_id": "the-data", "split_id": "the-split", "config": "the-settings"}
        assert entry == {**ids, "n_users": 2}
    assert json.loads(record.read_text())["version"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["test_access.json"]


def test_records_of_early_releases_had_no_configuration(data: Stub, tmp_path: Path) -> None:
    record = tmp_path / "test_access.json"
    early = {"counter": 1, "time": "2026-01-01T00:00:00+00:00", "reason": "early"}
    manifest = {"format": "graphrec.test_access", "version": 1, "openings": [early]}
    record.write_text(json.dumps(manifest))
    open_test(data, record, reason="later", config="the-settings")
    assert [entry.get("config") for entry in openings_of(record)] == [None, "the-settings"]


def test_a_damaged_record_is_not_overwritten(data: Stub, tmp_path: Path) -> None:
    record = tmp_path / "test_access.json"
    record.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        open_test(data, record, reason="again")
    assert record.read_text() == "{"


def names_test_label(node: ast.expr) -> bool:
    constant = isinstance(node, ast.Constant) and node.value == 2 and node.value is not True
    return constant or ast.unparse(node).rsplit(".")[-1] == "TEST"


def selects_test(node: ast.AST) -> bool:
    """`labels == 2`, `label != TEST`, `label.is_in([2])`, `2 in labels` and the like."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        sides = [node.func.value, *node.args]
        if node.func.attr not in {"is_in", "isin", "eq", "ne", "filter"}:
            return False
    else:
        return False
    listed = [x for side in sides for x in (side.elts if isinstance(side, ast.List) else [side])]
    about_labels = any("label" in ast.unparse(side).lower() for side in sides)
    return about_labels and any(names_test_label(side) for side in listed)


def places_selecting_test(source: str) -> list[str]:
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if selects_test(node)]


def test_the_search_finds_what_it_should() -> None:
    for text in ("x = labels == 2", "split.labels == TEST", "pl.col('label').is_in([1, 2])",
                 "splits.TEST == labels", "label.eq(2)"):  # fmt: skip
        assert places_selecting_test(text), text
    for text in ("labels == 0", "x.ndim == 2", "len(labels) == n", "f(label, 2)"):
        assert not places_selecting_test(text), text


def test_nothing_else_selects_the_test_label() -> None:
    root = Path(graphrec.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        places = places_selecting_test(path.read_text(encoding="utf-8"))
        if places:
            found[path.relative_to(root).as_posix()] = places
    assert set(found) - {MAKER} == {DOOR}, found


def test_nothing_else_imports_the_test_label_or_builds_a_test_part() -> None:
    root = Path(graphrec.__file__).parent
    importers, builders = set(), set()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and "TEST" in {a.name for a in node.names}:
                importers.add(name)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "HeldOut.where":
                first = node.args[0]
                if not (isinstance(first, ast.Constant) and first.value == "valid"):
                    builders.add(name)
    assert importers == set()
    assert builders == {DOOR}
