from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modalities import EncoderSpec
from modalities._base.errors import InputError
from modalities.captions import CaptionJob, CaptionStore


class Colours:
    """Says the colour of the first pixel; fails on pure green, has no word for black."""

    def __init__(self, prompt: str = "colour?") -> None:
        self.spec = EncoderSpec.of("colours", prompt=prompt)
        self.seen = 0

    def caption(self, pictures: Sequence[Image.Image]) -> list[str]:
        pixels: list[Any] = [picture.getpixel((0, 0)) for picture in pictures]
        if (0, 255, 0) in pixels:
            raise ValueError("green")
        self.seen += len(pictures)
        return ["" if pixel == (0, 0, 0) else f"colour {pixel}" for pixel in pixels]


def pictures(folder: Path, *colours: str | None) -> list[Path | None]:
    paths: list[Path | None] = []
    for number, colour in enumerate(colours):
        path = folder / f"{number}.png"
        if colour is not None:
            Image.new("RGB", (8, 8), colour).save(path)
        paths.append(path if colour else None)
    return paths


def job(path: Path, contents: list[Path | None], captioner: Colours, **how: Any) -> CaptionJob:
    ids = [f"i{n}" for n in range(len(contents))]
    return CaptionJob(path, ids, contents, captioner=captioner, progress=False, **how)


def test_captions_are_readable_and_say_what_went_wrong(tmp_path: Path) -> None:
    contents = pictures(tmp_path, "red", None, "blue", "red", "black", "#00ff00")
    job(tmp_path / "c", contents, Colours()).run()
    lines = [json.loads(line) for line in (tmp_path / "c" / "captions.jsonl").open()]
    assert [line["caption"] for line in lines] == [
        "colour (255, 0, 0)",
        None,
        "colour (0, 0, 255)",
        "colour (255, 0, 0)",
        None,
        None,
    ]
    assert [line["error"] for line in lines] == [
        None,
        "missing",
        None,
        None,
        "no-words",
        "encoder-failed",
    ]
    store = CaptionStore.load(tmp_path / "c")
    assert store.texts(["i2", "nobody"]) == ["colour (0, 0, 255)", None]
    assert store.spec["prompt"] == "colour?"


def test_parts_can_be_shared_and_continued(tmp_path: Path) -> None:
    contents = pictures(tmp_path, "red", "blue", "white", "yellow", "pink")
    first = Colours()
    early = job(tmp_path / "c", contents, first, rows_per_part=2, rank=1, world=2).run()
    assert early.waiting == 2
    late = Colours()
    assert job(tmp_path / "c", contents, late, rows_per_part=2).run().waiting == 0
    assert (first.seen, late.seen) == (2, 3)


def test_a_caption_mended_by_hand_is_kept(tmp_path: Path) -> None:
    contents = pictures(tmp_path, "red", "blue")
    job(tmp_path / "c", contents, Colours()).run()
    path = tmp_path / "c" / "captions.jsonl"
    path.write_text(path.read_text().replace("colour (255, 0, 0)", "a red square"))
    Image.new("RGB", (8, 8), "white").save(contents[1])  # type: ignore[arg-type]
    captioner = Colours()
    job(tmp_path / "c", contents, captioner).run()
    assert captioner.seen == 1
    assert CaptionStore.load(tmp_path / "c").captions == [
        "a red square",
        "colour (255, 255, 255)",
    ]


def test_another_prompt_is_another_set(tmp_path: Path) -> None:
    contents = pictures(tmp_path, "red")
    job(tmp_path / "c", contents, Colours()).run()
    with pytest.raises(InputError, match=r"prompt was 'colour\?', now 'shape\?'"):
        job(tmp_path / "c", contents, Colours("shape?")).run()
    job(tmp_path / "c", contents, Colours("shape?"), replace=True).run()


def test_a_line_that_is_no_caption_is_named(tmp_path: Path) -> None:
    job(tmp_path / "c", pictures(tmp_path, "red"), Colours()).run()
    path = tmp_path / "c" / "captions.jsonl"
    path.write_text(path.read_text() + '{"item_id": 3}\n')
    with pytest.raises(InputError, match="line 2 of"):
        CaptionStore.load(tmp_path / "c")
