"""Files written atomically and read defensively: a crash leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modalities._base.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`.

    The data reach the disk before the name changes. On any error (a full disk included) the
    temporary file is removed and `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _naming_the_full_disk(path):
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`.

    Raises:
        InputError: `path` already exists and is not an empty folder.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        with _naming_the_full_disk(path):
            yield temporary
            if path.is_dir():
                path.rmdir()
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`.

    The old folder is moved aside before the new one takes its name; should the machine stop
    between the two moves, `restore_folder` brings the old one back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    aside = _aside(path)
    try:
        with _naming_the_full_disk(path):
            yield temporary
            shutil.rmtree(aside, ignore_errors=True)
            if path.exists():
                os.replace(path, aside)
            os.replace(temporary, path)
            _sync(path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        restore_folder(path)
        shutil.rmtree(temporary, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Bring back what `replacing_folder` had moved aside when it was cut off."""
    if _aside(path).is_dir() and not path.exists():
        os.replace(_aside(path), path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock other processes of this machine respect; it ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def refuse_existing(path: Path) -> None:
    """Raise `InputError` unless `path` is free: absent, or an empty folder."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists():
        raise InputError(f"output '{path}' already exists; choose another path or remove it first")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is missing, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"file '{path}' does not exist") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"file '{path}' is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"file '{path}' must hold a JSON object, got {type(value).__name__}")
    return value


def read_manifest(path: Path, kind: str, version: int) -> dict[str, Any]:
    """Read a JSON manifest and check its `format` and `version`.

    Raises:
        InputError: another format, or a version this release does not know.
    """
    manifest = read_json(path)
    if manifest.get("format") != kind:
        raise InputError(f"'{path}' is not a {kind} manifest (format: {manifest.get('format')!r})")
    if manifest.get("version") != version:
        raise InputError(
            f"'{path}' has format version {manifest.get('version')!r}; this release reads "
            f"{version}: use the release that wrote it, or make the folder again"
        )
    return manifest


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name, or copy it where the file system cannot link."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


@contextlib.contextmanager
def _naming_the_full_disk(path: Path) -> Iterator[None]:
    """Polars and safetensors have errors of their own for a full disk: make them one."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        full = getattr(error, "errno", None) == errno.ENOSPC
        if full or "no space left on device" in str(error).lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
