"""CLIP's two towers, through open_clip."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError, UnknownNameError
from modalities._base.identity import digest
from modalities.content import neutralise
from modalities.encoders.backend import (
    Precision,
    device_name,
    dtype_name,
    pick_device,
    pick_dtype,
    state_digest,
)
from modalities.hub import fetch, library_versions
from modalities.protocol import Content, EncoderSpec, Modality

_CLIP_MARKS = ("<start_of_text>", "<end_of_text>")


class ClipEncoder:
    r"""One tower of a CLIP model: pictures (or texts) into the space both share.

    x = f(picture) / \|f(picture)\|

    Source: Learning Transferable Visual Models From Natural Language Supervision, 2021,
    arXiv 2103.00020; open_clip: arXiv 2212.07143.

    Args:
        model: an open_clip model in evaluation mode.
        prepare: turns one content into the tower's input, a tensor.
        modality: image or text.
        spec: all that changes the output.
        dim: length of the vectors.
        origin: where the model came from; its weights and settings are what the spec names.
    """

    def __init__(
        self,
        model: Any,
        prepare: Any,
        *,
        modality: Modality,
        spec: EncoderSpec,
        dim: int,
        origin: Mapping[str, str | None] | None = None,
    ) -> None:
        self.model, self.modality, self.spec, self.dim = model, modality, spec, dim
        self.origin = origin or {}
        self._prepare = prepare
        weight = next(model.parameters())
        self._device, self._dtype = weight.device, weight.dtype

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        content: Literal["image", "text"] = "image",
        device: str = "auto",
        dtype: Precision = "auto",
        revision: str | None = None,
    ) -> ClipEncoder:
        """Load a model with its weights.

        Args:
            source: `ARCHITECTURE/TAG` as `open_clip.list_pretrained()` names them, a folder with
                `open_clip_config.json`, or `hf-hub:ID` for such a folder on the hub.
            content: which tower.
            device: auto, cpu, cuda or cuda:N.
            dtype: of weights and computation, see `pick_dtype`.
            revision: commit on the hub, with `hf-hub:`.

        Raises:
            InputError: unknown names, missing weights, or an architecture that does not fit them.
        """
        import open_clip

        if content not in ("image", "text"):
            raise InputError(f"open_clip encodes images or texts, not '{content}'")
        place = pick_device(device)
        precision = pick_dtype(dtype, place)
        name, tag = _address(str(source), revision)
        with _strict_loading(str(source)):
            model, _, transform = open_clip.create_model_and_transforms(
                name, pretrained=tag, require_pretrained=True
            )
        model = model.eval().to(place, precision)
        if content == "image":
            prepare, width = transform, _width(model)
        else:
            tokenizer = open_clip.get_tokenizer(name)
            prepare, width = _text_preparation(tokenizer), _width(model)
        spec = EncoderSpec.of(
            "open_clip",
            model=digest(open_clip.get_model_config(name)),
            weights=state_digest(model.state_dict()),
            content=content,
            preprocess=" ".join(str(transform).split()) if content == "image" else None,
            normalise=True,
            dtype=dtype_name(precision),
            **library_versions("open_clip_torch"),
        )
        origin = {"model": str(source), "revision": revision}
        if name.startswith("local-dir:") and Path(source).exists():
            origin = {"model": Path(source).resolve().name}
        return cls(model, prepare, modality=content, spec=spec, dim=width, origin=origin)

    @property
    def device(self) -> str:
        """Where it computes."""
        return device_name(self._device)

    def encode(self, batch: Sequence[Content]) -> NDArray[np.float32]:
        """Unit vectors, float32 [n, dim], of PIL pictures (or of texts)."""
        import torch

        if not batch:
            return np.zeros((0, self.dim), dtype=np.float32)
        inputs = torch.stack([self._prepare(content) for content in batch]).to(self._device)
        with torch.inference_mode():
            if self.modality == "image":
                vectors = self.model.encode_image(inputs.to(self._dtype))
            else:
                vectors = self.model.encode_text(inputs)
            unit = torch.nn.functional.normalize(vectors.float(), dim=1)
        return np.asarray(unit.cpu().numpy())


def _address(source: str, revision: str | None) -> tuple[str, str | None]:
    """Architecture and tag as open_clip wants them, checked against what it knows."""
    import open_clip

    if source.startswith("hf-hub:"):
        return f"local-dir:{fetch(source.removeprefix('hf-hub:'), revision)}", None
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "open_clip_config.json").is_file():
            raise InputError(f"'{folder}' holds no open_clip_config.json")
        return f"local-dir:{folder.resolve()}", None
    name, slash, tag = source.rpartition("/")
    if not slash:
        raise InputError(
            f"name an architecture and its weights, such as ViT-B-32/laion2b_s34b_b79k, or a "
            f"folder; got '{source}'"
        )
    if name not in open_clip.list_models():
        raise UnknownNameError("open_clip architecture", name, open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise UnknownNameError(f"weights of {name}", tag, tags)
    return name, tag


@contextmanager
def _strict_loading(source: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*QuickGELU mismatch.*")
            yield
    except UserWarning as warning:
        raise InputError(
            f"'{source}': {warning} Use the architecture whose name ends in -quickgelu"
        ) from None
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(
            f"cannot load '{source}' with open_clip: {error}. Without a connection, put the "
            "model's folder (open_clip_config.json and its weights) on this machine and name it"
        ) from None


def _width(model: Any) -> int:
    import torch

    size = model.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    weight = next(model.parameters())
    probe = torch.zeros(1, 3, height, width, device=weight.device, dtype=weight.dtype)
    with torch.inference_mode():
        return int(model.encode_image(probe).shape[1])


def _text_preparation(tokenizer: Any) -> Any:
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    special = {*_CLIP_MARKS, *getattr(inner, "all_special_tokens", ())}
    return lambda text: tokenizer([neutralise(text, special)])[0]
