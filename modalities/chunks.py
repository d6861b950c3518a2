"""One chunk of inputs through a model: batches, broken inputs, and too little memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities.content import ContentError
from modalities.inputs import Inputs
from modalities.protocol import Content, Encoder, Pair

FAILED = "encoder-failed"
NOT_FINITE = "not-finite"
ZERO = "zero-vector"

# Opened pictures wait for the encoder in memory: 64 million pixels are 192 MB.
_BATCH_PIXELS = 64_000_000
R = TypeVar("R")
"""What the model makes of one input."""


@dataclass
class Batcher(Generic[R]):
    """Runs a model over chunks of inputs, one batch at a time.

    Inputs are sorted by length, the longest first, so that a batch wastes little on padding and
    memory runs out early or never. Too little memory halves the batch from there on; an input on
    which the model fails alone gets a code, and the others their results.

    Args:
        model: results of a batch of opened contents.
        fault: what is wrong with a result, as a short code, or None.
        batch_size: inputs per call of the model.
        workers: threads that open pictures ahead of the model; 0: none.
        tell: called with the number of inputs after each batch.
    """

    model: Callable[[list[Content]], Iterable[R]]
    fault: Callable[[R], str | None]
    batch_size: int = 32
    workers: int = 0
    tell: Callable[[int], None] = field(default=lambda count: None)
    halvings: int = 0
    failure: Exception | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {self.batch_size}")

    def run(self, inputs: Inputs, rows: Sequence[int]) -> tuple[list[R | None], list[str | None]]:
        """A result, or None and an error code, for each of `rows`."""
        results: list[R | None] = [None] * len(rows)
        errors: list[str | None] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda p: -_length(inputs.contents[rows[p]]))
        for batch in self._batches(inputs, rows, order, errors):
            self._work_on(batch, results, errors)
        return results, errors

    def _batches(
        self,
        inputs: Inputs,
        rows: Sequence[int],
        order: Sequence[int],
        errors: list[str | None],
    ) -> Iterator[list[tuple[int, Content]]]:
        batch: list[tuple[int, Content]] = []
        weight = 0
        for place, content in self._opened(inputs, rows, order):
            if isinstance(content, ContentError):
                errors[place] = content.code
                self.tell(1)
                continue
            batch.append((place, content))
            weight += _pixels(content)
            if len(batch) >= self.batch_size or weight > _BATCH_PIXELS:
                yield batch
                batch, weight = [], 0
        if batch:
            yield batch

    def _opened(
        self, inputs: Inputs, rows: Sequence[int], order: Sequence[int]
    ) -> Iterator[tuple[int, Content | ContentError]]:
        def open_one(place: int) -> Content | ContentError:
            try:
                return inputs.open(rows[place])
            except ContentError as error:
                return error

        if not self.workers or inputs.modality == "text":
            yield from ((place, open_one(place)) for place in order)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting: deque[tuple[int, Future[Content | ContentError]]] = deque()
            for place in order:
                waiting.append((place, pool.submit(open_one, place)))
                if len(waiting) > 2 * self.workers:
                    first, opened = waiting.popleft()
                    yield first, opened.result()
            yield from ((place, opened.result()) for place, opened in waiting)

    def _work_on(
        self,
        opened: Sequence[tuple[int, Content]],
        results: list[R | None],
        errors: list[str | None],
    ) -> None:
        try:
            made = self.model([content for _, content in opened])
        except InputError:
            raise
        except Exception as error:  # one input must not end the job
            self._recover(error, opened, results, errors)
            return
        for (place, _), result in zip(opened, made, strict=True):
            errors[place] = self.fault(result)
            results[place] = result if errors[place] is None else None
        self.tell(len(opened))

    def _recover(
        self,
        error: Exception,
        opened: Sequence[tuple[int, Content]],
        results: list[R | None],
        errors: list[str | None],
    ) -> None:
        if len(opened) == 1:
            self.failure, errors[opened[0][0]] = error, FAILED
            self.tell(1)
            return
        size = 1
        if out_of_memory(error):
            _free_memory()
            size = (len(opened) + 1) // 2
            self.batch_size = min(self.batch_size, size)
            self.halvings += 1
        for start in range(0, len(opened), size):
            self._work_on(opened[start : start + size], results, errors)


def vector_batcher(
    encoder: Encoder,
    batch_size: int,
    *,
    dtype: Any = np.float32,
    workers: int = 0,
    tell: Callable[[int], None] = lambda count: None,
) -> Batcher[NDArray[np.float32]]:
    """A batcher that encodes; vectors beyond the range of `dtype` count as not finite.

    Raises (when it runs):
        InputError: the encoder does not return one row of its `dim` per input.
    """
    limit = float(np.finfo(dtype).max)

    def model(batch: list[Content]) -> NDArray[np.float32]:
        vectors = np.asarray(encoder.encode(batch), np.float32)
        if vectors.shape != (len(batch), encoder.dim):
            raise InputError(
                f"the encoder returned {vectors.shape} for {len(batch)} inputs, expected "
                f"{(len(batch), encoder.dim)}"
            )
        return vectors

    def fault(vector: NDArray[np.float32]) -> str | None:
        if not np.isfinite(vector).all() or np.abs(vector).max(initial=0.0) > limit:
            return NOT_FINITE
        return None if vector.any() else ZERO

    return Batcher(model, fault, batch_size, workers, tell)


def stacked(
    vectors: Sequence[NDArray[np.float32] | None], dim: int, dtype: Any = np.float32
) -> NDArray[Any]:
    """Rows of a matrix [n, dim], zero where there is no vector."""
    values = np.zeros((len(vectors), dim), dtype=dtype)
    for row, vector in enumerate(vectors):
        if vector is not None:
            values[row] = vector
    return values


def out_of_memory(error: Exception) -> bool:
    """Whether an exception means that memory ran out, of the machine or of its GPU."""
    text = str(error).lower()
    named = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    said = ("out of memory", "not enough memory", "can't allocate memory")
    return named or any(words in text for words in said)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _pixels(content: Any) -> int:
    picture = content.picture if isinstance(content, Pair) else content
    width, height = getattr(picture, "size", (0, 0))
    return int(width * height)


def _length(content: Any) -> int:
    text = content.text if isinstance(content, Pair) else content
    return len(text) if isinstance(text, str) else 0
