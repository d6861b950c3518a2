"""Captions of pictures: readable text in a folder of their own, encoded like any other text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modalities._base.errors import InputError
from modalities._base.files import read_manifest, replacing_folder, write_json, write_text
from modalities.chunks import FAILED, Batcher
from modalities.inputs import Inputs
from modalities.parted import Found, PartedJob, Plan, Worked
from modalities.protocol import EncoderSpec, Modality

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = "graphrec.captions"
VERSION = 1
NO_WORDS = "no-words"


class Captions(Protocol):
    """What turns pictures into texts, such as `modalities.captioner.Captioner`."""

    @property
    def spec(self) -> EncoderSpec:
        """All that changes the captions."""

    def caption(self, pictures: Sequence[Image]) -> list[str]:
        """A text for each picture; "" where the model said nothing."""


@dataclass(frozen=True, eq=False)
class CaptionStore:
    """Captions of many items.

    On disk: `spec.json` and `captions.jsonl`, one line per item with `item_id`, `caption`,
    `error` and the `digest` of the picture. The file is made to be read and mended by hand: a
    caption that was changed is kept as long as its picture stays the same.

    Args:
        item_ids: external ids.
        captions: a text, or None where there is none.
        errors: why there is none.
        digests: identity of each picture.
        spec: what determines the captions.
        made: how they were made, such as the name of the model; not part of any identity.

    Example:
        >>> store = CaptionStore(["a", "b"], ["a red hat", None], [None, "missing"], ["x", ""], {})
        >>> store.texts(["b", "a", "c"])
        [None, 'a red hat', None]
    """

    item_ids: Sequence[str]
    captions: Sequence[str | None]
    errors: Sequence[str | None]
    digests: Sequence[str]
    spec: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.item_ids)

    def texts(self, item_ids: Sequence[str]) -> list[str | None]:
        """The captions of these items."""
        known = dict(zip(self.item_ids, self.captions))
        return [known.get(item) for item in item_ids]

    def replace(self, path: Path) -> None:
        """Write the captions to `path`, in place of those that may be there."""
        lines = (
            {"item_id": item, "caption": caption, "error": error, "digest": key}
            for item, caption, error, key in zip(
                self.item_ids, self.captions, self.errors, self.digests
            )
        )
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        with replacing_folder(path) as folder:
            write_text(folder / "captions.jsonl", text)
            manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION}
            manifest |= {"spec": dict(self.spec), "made": dict(self.made)}
            write_json(folder / "spec.json", manifest)

    @classmethod
    def load(cls, path: Path | str) -> CaptionStore:
        """Read a folder written by `replace`.

        Raises:
            InputError: a file is missing, or a line is not as expected.
        """
        folder = Path(path)
        manifest = read_manifest(folder / "spec.json", FORMAT, VERSION)
        file = folder / "captions.jsonl"
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read '{file}': {error}") from None
        rows = [_line(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
        return cls(
            item_ids=[row["item_id"] for row in rows],
            captions=[row["caption"] for row in rows],
            errors=[row["error"] for row in rows],
            digests=[row["digest"] for row in rows],
            spec=manifest["spec"],
            made=manifest.get("made") or {},
        )


@dataclass
class CaptionJob(PartedJob[str]):
    """Captions the pictures of items into the folder `path`; see `PartedJob`.

    Args:
        captioner: what makes the captions.
    """

    captioner: Captions = field(kw_only=True)

    def __post_init__(self) -> None:
        self.default_rows, self.verb = 256, "captioning"
        self._batcher: Batcher[str] = Batcher(
            self.captioner.caption,  # type: ignore[arg-type]
            lambda caption: None if caption.strip() else NO_WORDS,
            self.batch_size,
            self.workers,
        )

    @cached_property
    def spec(self) -> dict[str, Any]:
        """All that determines the captions."""
        return self.captioner.spec.to_dict()

    @property
    def modality(self) -> Modality:
        """Pictures."""
        return "image"

    @property
    def halvings(self) -> int:
        """How often memory ran out."""
        return self._batcher.halvings

    def earlier(self) -> tuple[Mapping[str, Any], Callable[[], Found[str]]] | None:
        """The captions at `path`."""
        if not (self.path / "spec.json").is_file():
            return None
        store = CaptionStore.load(self.path)
        size = self.rows_per_part or self.default_rows
        return store.spec, lambda: _found(store, size)

    def work_on(
        self, inputs: Inputs, rows: Sequence[int], tell: Callable[[int], None]
    ) -> Worked[str]:
        """Caption a chunk."""
        self._batcher.tell = tell
        captions, errors = self._batcher.run(inputs, rows)
        self.failure = self._batcher.failure
        return Worked([caption or "" for caption in captions], errors)

    def write_chunk(self, path: Path, identity: str, chunk: Worked[str]) -> None:
        """Write a chunk as JSON."""
        content = {"captions": list(chunk.results), "errors": list(chunk.errors)}
        write_json(path, {"chunk": identity, **content})

    def read_chunk(self, path: Path, identity: str) -> Worked[str] | None:
        """Read a chunk."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["chunk"] != identity:
                return None
            return Worked(content["captions"], content["errors"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def finish(
        self, plan: Plan[str], results: Mapping[str, str], errors: Mapping[str, str]
    ) -> None:
        """Write the captions."""
        codes = plan.row_errors(errors)
        keys = plan.inputs.digests
        texts = [None if code else results[key] for key, code in zip(keys, codes)]
        made = {**getattr(self.captioner, "origin", {}), "batch_size": self._batcher.batch_size}
        CaptionStore(plan.item_ids, texts, codes, keys, self.spec, made).replace(self.path)


def _found(store: CaptionStore, rows_per_part: int) -> Found[str]:
    def same(item_ids: Sequence[str], digests: Sequence[str]) -> bool:
        return list(store.item_ids) == item_ids and list(store.digests) == digests

    done = {key: text for key, text in zip(store.digests, store.captions) if key and text}
    faults = {
        key: error
        for key, error in zip(store.digests, store.errors)
        if key and error and error != FAILED
    }
    return Found(done, faults, rows_per_part, same)


def _line(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        given = all(isinstance(row[name], str) for name in ("item_id", "digest"))
        optional = (row[name] for name in ("caption", "error"))
        if given and all(value is None or isinstance(value, str) for value in optional):
            return dict(row)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(
        f"line {number} of '{file}' is not a caption: expected a JSON object with the texts "
        "item_id, caption, error and digest"
    )
