"""Download of listed pictures: only when called, resumable, rate-limited, everything checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphrec.data.fetching import FORMATS, Fetcher, Limits, Refused
from modalities._base.errors import InputError
from modalities._base.files import atomic_file, write_text
from modalities._base.progress import track

FAILURES = "failures.jsonl"
"""The record of addresses that gave no picture, in the folder of the pictures."""

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_LONGEST_NAME = 150


@dataclass
class Downloads:
    """What a download did.

    Args:
        fetched: pictures fetched now.
        present: pictures that were there already.
        failed: addresses that gave none now.
        skipped: addresses not asked again, because an earlier failure will not pass.
        reasons: how many of the failures now were of which kind.
        pictures: item id to its picture files, for items that have one.
    """

    fetched: int = 0
    present: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, list[Path]] = field(default_factory=dict)


def download_images(
    urls: Mapping[str, Sequence[str]],
    folder: Path | str,
    *,
    per_item: int = 1,
    limits: Limits | None = None,
    retry_failed: bool = False,
    progress: bool = False,
) -> Downloads:
    """Fetch listed pictures into a folder, one file per picture.

    For each item the addresses are tried in order until `per_item` pictures are there. The
    picture of the first address is saved as `ITEM.jpg` (or .png, ...), that of the n-th as
    `ITEM@n.jpg`. A picture counts only when the server calls it an image (or plain bytes), it
    keeps within the limits, and it decodes completely. Files appear whole or not at all, so the
    work can be stopped and called again: pictures that are there are kept, and failures that
    will not pass, listed in `failures.jsonl`, are not asked again. Only http and https are used,
    redirects included; requests go out one at a time.

    Args:
        urls: item id to addresses, best first.
        folder: made when missing.
        per_item: pictures wanted per item.
        limits: rate, sizes, patience; default `Limits()`.
        retry_failed: ask again for everything that failed earlier.
        progress: show a progress bar.

    Returns:
        Counts, and the files of each item.

    Raises:
        InputError: `per_item` is below 1.
        OSError: a file cannot be written, such as on a full disk.
    """
    if per_item < 1:
        raise InputError(f"per_item must be 1 or more, got {per_item}")
    target = Path(folder).resolve()
    target.mkdir(parents=True, exist_ok=True)
    there = {file.stem: file for file in target.iterdir() if file.suffix in FORMATS.values()}
    job = _Job(target, there, _FailureLog(target / FAILURES), Fetcher(limits or Limits()))
    if retry_failed:
        job.log.forget()
    job.log.compact()
    for item in track(urls, "downloading pictures", total=len(urls), show=progress):
        job.item(item, list(dict.fromkeys(urls[item])), per_item)
    job.log.compact()
    return job.done


def picture_stem(item_id: str) -> str:
    """A file name, without suffix, that is safe on any system and differs between item ids.

    Letters, digits and "-", "_", "." stay; other bytes and a leading "." become %XX; long names
    end in a digest.

    Example:
        >>> picture_stem("0111565001"), picture_stem("../a b")
        ('0111565001', '%2E.%2Fa%20b')
    """
    escaped = "".join(
        c if c in _SAFE else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "replace"))
        for c in item_id
    )
    if escaped.startswith("."):
        escaped = f"%2E{escaped[1:]}"
    if not escaped or len(escaped) > _LONGEST_NAME:
        tail = hashlib.blake2b(item_id.encode("utf-8", "replace"), digest_size=16).hexdigest()
        return f"{escaped[: _LONGEST_NAME - 33]}%{tail}"
    return escaped


@dataclass
class _Job:
    folder: Path
    there: dict[str, Path]
    log: _FailureLog
    fetcher: Fetcher
    done: Downloads = field(default_factory=Downloads)

    def item(self, item: str, urls: Sequence[str], wanted: int) -> None:
        stem = picture_stem(item)
        names = [stem if n == 1 else f"{stem}@{n}" for n in range(1, len(urls) + 1)]
        kept = {name: self.there[name] for name in names if name in self.there}
        self.done.present += len(kept)
        for name, url in zip(names, urls, strict=True):
            if len(kept) >= wanted:
                break
            if name not in kept and (file := self._fetch(item, name, url)):
                kept[name] = file
        if kept:
            self.done.pictures[item] = [kept[name] for name in names if name in kept]

    def _fetch(self, item: str, name: str, url: str) -> Path | None:
        if self.log.final(url):
            self.done.skipped += 1
            return None
        try:
            data, suffix = self.fetcher.fetch(url)
        except Refused as refusal:
            self.log.add(item, url, refusal)
            kind = str(refusal).split(":")[0]
            self.done.failed += 1
            self.done.reasons[kind] = self.done.reasons.get(kind, 0) + 1
            return None
        with atomic_file(self.folder / f"{name}{suffix}") as temporary:
            temporary.write_bytes(data)
        self.log.remove(url)
        self.done.fetched += 1
        return self.folder / f"{name}{suffix}"


class _FailureLog:
    """Addresses that failed, one JSON object a line; a line cut off by a crash is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._load(line)

    def _load(self, line: str) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return
        if isinstance(record, dict) and isinstance(record.get("url"), str):
            self.records[record["url"]] = record

    def final(self, url: str) -> bool:
        return url in self.records and not self.records[url].get("passing")

    def add(self, item: str, url: str, refusal: Refused) -> None:
        record = {"item": item, "url": url, "reason": str(refusal), "passing": refusal.passing}
        self.records[url] = record
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def remove(self, url: str) -> None:
        self.records.pop(url, None)

    def forget(self) -> None:
        self.records.clear()

    def compact(self) -> None:
        if self.records:
            lines = (json.dumps(record) + "\n" for record in self.records.values())
            write_text(self.path, "".join(lines))
        else:
            self.path.unlink(missing_ok=True)
