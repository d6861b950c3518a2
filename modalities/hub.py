"""From the name of a model to a folder on this machine, and what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modalities._base.errors import InputError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_HTTP = ("httpx", "httpx2", "httpcore")  # some releases let their errors through
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py", "*.tiktoken")


def fetch(source: str | Path, revision: str | None = None) -> Path:
    """The folder of a model: `source` itself, or a snapshot of a repository on the hub.

    A snapshot is downloaded once and then found without a connection.

    Args:
        source: a folder, or an id such as `intfloat/e5-base-v2`.
        revision: commit, tag or branch on the hub; None: the newest.

    Raises:
        InputError: there is no such folder, or the hub cannot be reached, does not know the
            model, or wants its licence accepted first.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not _ID.fullmatch(str(source)) or folder.suffix == ".safetensors":
        raise InputError(
            f"'{source}' is neither a folder nor the id of a model on the hub (owner/name)"
        )
    from huggingface_hub import errors, snapshot_download

    try:
        found = snapshot_download(str(source), revision=revision, allow_patterns=list(_WANTED))
    except errors.GatedRepoError:
        raise InputError(
            f"'{source}' is gated: accept its licence at https://huggingface.co/{source} and log "
            "in with: hf auth login"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise InputError(_unreachable(source, revision)) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        said = str(error).splitlines()[0]
        raise InputError(
            f"the hub has no model '{source}' at {revision or 'main'}: {said}"
        ) from None
    except errors.HFValidationError as error:
        raise InputError(f"'{source}' is no id of a model on the hub: {error}") from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _HTTP:
            raise
        raise InputError(_unreachable(source, revision, error)) from None
    return Path(found)


def _unreachable(source: str | Path, revision: str | None, error: Exception | None = None) -> str:
    pinned = f" --revision {revision}" if revision else ""
    said = next(iter(str(error).strip().splitlines()), "") if error else ""
    why = f" ({said})" if said else ""
    return (
        f"'{source}' is not on this machine and the hub cannot be reached{why}. Where there is a "
        f"connection, run: hf download {source}{pinned} --local-dir MODEL; bring the folder here "
        "and name it in place of the id"
    )


def weights_digest(folder: Path) -> str:
    """SHA-256 over the safetensors files of a model, in order of path; 64 hex digits.

    Files in folders within count too: modules after the first keep their weights there. Of a
    single file it is that file's own SHA-256, as the hub shows it.

    Raises:
        InputError: the folder holds no safetensors.
    """
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        pickles = [f.name for pattern in _PICKLES for f in folder.glob(pattern)]
        if pickles:
            raise InputError(
                f"'{folder}' holds its weights as {pickles[0]}, a pickle that can run code when "
                "read; convert it with transformers' save_pretrained, which writes safetensors"
            )
        raise InputError(f"'{folder}' holds no weights (*.safetensors)")
    marks = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    digests = [_sha256(*mark) for mark in marks]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, changed: int) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            found.update(block)
    return found.hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions by option name: `sentence-transformers` gives `sentence_transformers`.

    Example:
        >>> list(library_versions("numpy"))
        ['numpy_version']
    """
    found = {}
    for name in names:
        try:
            found[f"{name.replace('-', '_')}_version"] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_weights(loading: Mapping[str, Any], source: str | Path) -> None:
    """Refuse a model some of whose weights were not in its files.

    The libraries draw such weights at random and only log it. Poolers that a checkpoint leaves
    out are let pass: pooling is chosen by name, and the choice `pooler` checks them again.

    Args:
        loading: what `from_pretrained(..., output_loading_info=True)` returned beside the model.
        source: for the message.

    Raises:
        InputError: weights are missing or of another shape.
    """
    missing = [n for n in sorted(loading.get("missing_keys", ())) if "pooler" not in n]
    wrong = sorted(str(entry[0]) for entry in loading.get("mismatched_keys", ()))
    if missing or wrong:
        names = [*missing, *wrong]
        raise InputError(
            f"'{source}' lacks {len(names)} of its weights ({', '.join(names[:3])}"
            f"{', ...' if len(names) > 3 else ''}); they would be random numbers. Download the "
            "model again, or name the class of model these weights belong to"
        )
