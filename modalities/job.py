"""Encoding into a feature store on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save

from modalities._base.errors import InputError
from modalities._base.files import atomic_file
from modalities._base.identity import digest
from modalities.chunks import FAILED, stacked, vector_batcher
from modalities.inputs import Inputs
from modalities.layout import read_spec
from modalities.parted import Found, PartedJob, Plan, Worked
from modalities.parts import Array, map_tensor
from modalities.protocol import Encoder, Modality
from modalities.store import FeatureStore
from modalities.verify import Salvage, salvage

STORED = "float16"


@dataclass
class EncodingJob(PartedJob[Array]):
    """Encodes items into the store at `path`; see `PartedJob` for all but the encoder.

    Args:
        encoder: of the contents.
        about: what else determines the vectors, such as the template of the texts.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from modalities import make_encoder
        >>> with TemporaryDirectory() as folder:
        ...     job = EncodingJob(Path(folder) / "text", ["a", "b"], ["red hat", "blue hat"],
        ...                       encoder=make_encoder("hashing", dim=8), progress=False)
        ...     job.run().done, job.run().reused, len(FeatureStore.load(job.path))
        (2, 2, 2)
    """

    encoder: Encoder = field(kw_only=True)
    about: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        self._batcher = vector_batcher(
            self.encoder, self.batch_size, dtype=np.float16, workers=self.workers
        )

    @cached_property
    def spec(self) -> dict[str, Any]:
        """All that determines the vectors."""
        return {**self.encoder.spec.to_dict(), **self.about, "stored": STORED}

    @property
    def modality(self) -> Modality:
        """Of the inputs."""
        return self.encoder.modality

    @property
    def halvings(self) -> int:
        """How often memory ran out."""
        return self._batcher.halvings

    def earlier(self) -> tuple[Mapping[str, Any], Callable[[], Found[Array]]] | None:
        """The store at `path`."""
        manifest = self.path / "spec.json"
        if not manifest.is_file():
            return None
        return read_spec(manifest)["spec"], lambda: _found(salvage(self.path))

    def work_on(
        self, inputs: Inputs, rows: Sequence[int], tell: Callable[[int], None]
    ) -> Worked[Array]:
        """Encode a chunk."""
        self._batcher.tell = tell
        vectors, errors = self._batcher.run(inputs, rows)
        self.failure = self._batcher.failure
        return Worked(stacked(vectors, self.encoder.dim, np.float16), errors)

    def write_chunk(self, path: Path, identity: str, chunk: Worked[Array]) -> None:
        """Write a chunk as safetensors."""
        features = np.asarray(chunk.results)
        header = {
            "chunk": identity,
            "checksum": digest(features),
            "errors": json.dumps(chunk.errors),
        }
        with atomic_file(path) as temporary:
            temporary.write_bytes(save({"features": features}, metadata=header))

    def read_chunk(self, path: Path, identity: str) -> Worked[Array] | None:
        """Read a chunk, checking it byte by byte."""
        try:
            features, header = map_tensor(path, "features")
        except InputError:
            return None
        intact = header.get("chunk") == identity and header.get("checksum") == digest(features)
        return Worked(features, json.loads(header["errors"])) if intact else None

    def finish(
        self, plan: Plan[Array], results: Mapping[str, Array], errors: Mapping[str, str]
    ) -> None:
        """Put the store together, one part in memory at a time."""
        codes = plan.row_errors(errors)
        keys = [key if code is None else "" for key, code in zip(plan.inputs.digests, codes)]
        store = FeatureStore(
            item_ids=plan.item_ids,
            present=np.array([code is None for code in codes]),
            modality=self.modality,
            spec=self.spec,
            digests=plan.inputs.digests,
            errors=codes,
            parts=_Gathered(keys, results, self.encoder.dim, plan.rows_per_part),
            made={
                **getattr(self.encoder, "origin", {}),
                "device": getattr(self.encoder, "device", "cpu"),
                "batch_size": self._batcher.batch_size,
            },
        )
        store.replace(self.path, rows_per_part=plan.rows_per_part)


class _Gathered(Sequence[Array]):
    """Parts of a store, each gathered from the results when it is asked for."""

    def __init__(
        self, keys: Sequence[str], results: Mapping[str, Array], dim: int, rows: int
    ) -> None:
        self._keys, self._results, self._dim, self._rows = keys, results, dim, rows
        self._last: tuple[int, Array] = (-1, np.zeros((0, dim), np.float16))

    def __len__(self) -> int:
        return -(-len(self._keys) // self._rows)

    def __getitem__(self, number: Any) -> Any:
        if number != self._last[0]:
            keys = self._keys[number * self._rows : (number + 1) * self._rows]
            part: NDArray[np.float16] = np.zeros((len(keys), self._dim), dtype=np.float16)
            for row, key in enumerate(keys):
                if key:
                    part[row] = self._results[key]
            self._last = (number, part)
        return self._last[1]


class _Stored(Mapping[str, Array]):
    """Rows of a store by the digest of their input, read when asked for."""

    def __init__(self, store: Salvage) -> None:
        self._parts = store.parts
        self._place = {key: (part, row) for key, part, row in store.rows()}

    def __getitem__(self, key: str) -> Array:
        part, row = self._place[key]
        return np.asarray(self._parts[part][row])

    def __iter__(self) -> Any:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def _found(store: Salvage) -> Found[Array]:
    table = store.items

    def same(item_ids: Sequence[str], digests: Sequence[str]) -> bool:
        stored = table["digest"].fill_null("").to_list()
        return not store.damage and table["item_id"].to_list() == item_ids and stored == digests

    faults = table.filter(pl.col("error").is_not_null() & pl.col("digest").is_not_null())
    lasting = {k: e for k, e in faults.select("digest", "error").iter_rows() if e != FAILED}
    return Found(_Stored(store), lasting, store.rows_per_part, same)
