"""The architecture the README draws: each room imports only rooms above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "graphrec"
ROOMS = ("data", "graphs", "nn", "models", "evaluation", "training", "serving", "experiments")


def imported(path: Path) -> Iterator[str]:
    """Dotted names of every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def below(room: str) -> set[str]:
    """What a room must not know: later rooms, and the commands and displays on top of all."""
    on_top = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "_version"}
    return {*ROOMS[ROOMS.index(room) + 1 :], *on_top}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room: str) -> None:
    hidden = below(room)
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / room).rglob("*.py")
        for name in imported(path)
        if name.startswith("graphrec.") and name.split(".")[1] in hidden
    ]
    assert not wrong


def test_every_folder_is_a_room() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)


def test_modalities_know_nothing_of_graphrec() -> None:
    files = list((ROOT / "modalities").rglob("*.py"))
    names = {name.split(".")[0] for path in files for name in imported(path)}
    assert files
    assert "graphrec" not in names


def test_readme_lists_the_rooms_in_this_order() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    places = [text.index(f"| `graphrec/{room}/` |") for room in ROOMS]
    assert places == sorted(places)
