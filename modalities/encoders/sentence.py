"""Texts, pictures or both through sentence-transformers, with nothing left to its guesses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from modalities._base.errors import InputError
from modalities._base.files import read_json
from modalities._base.identity import digest
from modalities.content import neutralise
from modalities.encoders.backend import (
    Precision,
    device_name,
    dtype_name,
    pick_device,
    pick_dtype,
    quiet_loading,
)
from modalities.extras import require
from modalities.hub import check_weights, fetch, library_versions, weights_digest
from modalities.presets import Preset, check_preset, find_preset
from modalities.protocol import Content, EncoderSpec, Modality, Pair

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PoolingName = Literal["mean", "cls", "lasttoken", "pooler"]

_ITEM_PROMPTS = ("document", "passage", "corpus")
_OUR_MODULES = "sentence_transformers."


class SentenceEncoder:
    r"""Any model sentence-transformers or transformers can load as an embedder.

    A decoder's vector is the state of the last real token, found by the mask; `mean` is the mean
    over real tokens, `cls` the first token, `pooler` the model's own head. Pooling comes from the
    argument, else from the model's own module files, else from the preset; a model that says
    nothing and has no preset is refused, because a guess gives plausible and wrong vectors.

    Source: Sentence-BERT, 2019, arXiv 1908.10084.

    Args:
        model: modules in order, in evaluation mode.
        modality: what it encodes: text, image or joint.
        spec: all that changes the output.
        dim: length of the vectors.
        prompt: put before every text.
        cut: dimensions to keep, or None.
        unit: scale vectors to length 1.
        origin: where the model came from; its weights and files are what the spec names.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        modality: Modality,
        spec: EncoderSpec,
        dim: int,
        prompt: str = "",
        cut: int | None = None,
        unit: bool = True,
        origin: Mapping[str, str | None] | None = None,
    ) -> None:
        self.model, self.modality, self.spec, self.origin = model, modality, spec, origin or {}
        self.dim, self.prompt, self.cut, self.unit = dim, prompt, cut, unit
        tokenizer = getattr(model, "tokenizer", None)
        self._special = tuple(_special_tokens(tokenizer)) if tokenizer is not None else ()

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        content: Literal["text", "image", "joint"] = "text",
        pooling: PoolingName | None = None,
        normalise: bool | None = None,
        prompt: str | None = None,
        dim: int | None = None,
        max_length: int | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: Precision = "auto",
        remote_code: bool = False,
    ) -> SentenceEncoder:
        """Load a model.

        Args:
            source: a folder, or the id of a model on the hub.
            content: what will be encoded; the model must be able to.
            pooling: mean, cls, lasttoken or pooler; None: as the model or its preset says.
            normalise: scale vectors to length 1; None: as the model or its preset says, else yes.
            prompt: put before every text; None: the preset's, else the model's own for documents.
            dim: keep the first `dim` dimensions (Matryoshka) and scale to length 1 again.
            max_length: cut texts after this many tokens; None: the model's own limit.
            revision: commit on the hub; None: the preset's, else the newest.
            device: auto, cpu, cuda or cuda:N.
            dtype: of the computation, see `pick_dtype`.
            remote_code: run code that comes with the model.

        Raises:
            InputError: the model is not there, is incomplete, disagrees with its preset, says
                nothing about pooling, or cannot encode such content.
        """
        require("sentence_transformers", "st")
        preset = find_preset(str(source))
        if preset and preset.remote_code and not remote_code:
            raise InputError(_remote(source))
        commit = revision or (preset.revision if preset else None)
        folder = fetch(str(source), commit)
        weights = weights_digest(folder)  # before loading: it refuses pickles
        place = pick_device(device)
        precision = pick_dtype(dtype, place)
        modules = _load_modules(folder, precision, remote_code)
        _require_content(modules[0], content, source)
        stated = (folder / "modules.json").is_file()
        found = _pooling_of(modules)
        if stated and preset is not None:
            _check_against(preset, found, modules, commit)
        wanted = pooling or found or (preset.pooling if preset else None)
        own = any(_is(module, "Normalize") for module in modules)
        unit = _default_unit(preset, own, stated) if normalise is None else normalise
        modules = [module for module in modules if not _is(module, "Normalize")]
        model = _assemble(_with_pooling(modules, wanted, found, source), place)
        if max_length is not None:
            model.max_seq_length = max_length
        text_prompt = _prompt(prompt, preset, folder) if content != "image" else ""
        full = int(model.get_embedding_dimension() or 0)
        if dim is not None and not 1 <= dim <= full:
            raise InputError(f"dim must lie in 1..{full} for '{source}', got {dim}")
        spec = EncoderSpec.of(
            "sentence-transformers",
            weights=weights,
            files=files_digest(folder),
            content=content,
            pooling=wanted if isinstance(wanted, str) else json.dumps(wanted),
            normalise=unit,
            prompt=text_prompt,
            dim=dim,
            max_length=model.max_seq_length,
            dtype=dtype_name(precision),
            **library_versions("sentence-transformers", "transformers"),
        )
        return cls(
            model,
            modality=content,
            spec=spec,
            dim=dim or full,
            prompt=text_prompt,
            cut=dim,
            unit=unit,
            origin=origin_of(source, folder, commit),
        )

    @property
    def device(self) -> str:
        """Where it computes."""
        return device_name(self.model.device)

    def encode(self, batch: Sequence[Content]) -> NDArray[np.float32]:
        """Vectors, float32 [n, dim]."""
        import torch

        if not batch:
            return np.zeros((0, self.dim), dtype=np.float32)
        inputs = [self._input(content) for content in batch]
        with torch.inference_mode():
            vectors = self.model.encode(
                inputs,
                prompt=self.prompt or None,
                batch_size=len(inputs),
                show_progress_bar=False,
                convert_to_tensor=True,
                normalize_embeddings=False,
            ).float()
            if self.cut is not None:
                vectors = vectors[:, : self.cut]
            if self.unit:
                vectors = torch.nn.functional.normalize(vectors, dim=1)
        return np.asarray(vectors.cpu().numpy())

    def _input(self, content: Content) -> Any:
        # Never a bare string: sentence-transformers opens those that look like a picture's
        # address, file or data.
        if self.modality == "image":
            return content
        text = neutralise(_text_of(content), self._special)
        if isinstance(content, Pair) and content.picture is not None:
            return {"image": content.picture, **({"text": text} if text else {})}
        return {"text": text}


def _text_of(content: Content) -> str:
    if isinstance(content, Pair):
        return content.text or ""
    return content if isinstance(content, str) else ""


def _special_tokens(tokenizer: Any) -> list[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token) for token in added if token.special}
    return sorted({*getattr(tokenizer, "all_special_tokens", ()), *special})


def _load_modules(folder: Path, precision: Any, remote_code: bool) -> list[Any]:
    """The modules in order, whether the folder describes them or not."""
    trust = {"trust_remote_code": remote_code}  # left open, transformers would ask
    loading = {
        "model_kwargs": {"dtype": precision, **trust},
        "processor_kwargs": trust,
        "config_kwargs": trust,
    }
    with quiet_loading():
        if (folder / "modules.json").is_file():
            return _own_modules(folder, loading)
        return [_transformer(folder, _checked_transformer(), loading)]


def _own_modules(folder: Path, loading: dict[str, Any]) -> list[Any]:
    """The modules that the model's own files describe."""
    try:
        entries = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        described = [(entry["type"], entry["path"]) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{folder / 'modules.json'}' is damaged: {error}") from None
    modules = []
    for kind, path in described:
        if not kind.startswith(_OUR_MODULES):
            raise InputError(
                f"'{folder}' needs the module '{kind}', which is code outside "
                "sentence-transformers; encode with a class of your own (docs/encoders.md)"
            )
        if kind.rpartition(".")[2] == "Transformer":
            modules.append(_transformer(folder / path, _checked_transformer().load, loading))
        else:
            modules.append(_module_class(kind).load(str(folder), subfolder=path))
    return modules


def _module_class(kind: str) -> Any:
    """The class that a module file names, wherever this release keeps it."""
    place, _, name = kind.rpartition(".")
    for home in ("sentence_transformers.sentence_transformer.modules", place):
        with suppress(ImportError):
            if hasattr(import_module(home), name):
                return getattr(import_module(home), name)
    raise InputError(f"this release of sentence-transformers has no module '{kind}'")


def _transformer(folder: Path, make: Callable[..., Any], loading: dict[str, Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return make(str(folder), **loading)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise InputError(_remote(folder)) from None
        raise InputError(f"'{folder}' is no model that transformers can load: {error}") from None


def _remote(source: str | Path) -> str:
    return f"'{source}' runs code of its own; look at it, then allow it with remote_code=true"


def _checked_transformer() -> Any:
    from sentence_transformers.base.modules import Transformer

    class Checked(Transformer):  # type: ignore[misc]
        """Refuses a model some of whose weights would be drawn at random."""

        def _load_model(self, source: str, *args: Any, **kwargs: Any) -> Any:
            loaded = super()._load_model(source, *args, **kwargs, output_loading_info=True)
            model, info = loaded
            check_weights(info, source)
            return model

    Checked.__name__ = "Transformer"
    return Checked


def _require_content(transformer: Any, content: str, source: str | Path) -> None:
    known = {str(name) for name in transformer.modality_config}
    needed = {"joint": ("text", "image")}.get(content, (content,))
    lacking = [name for name in needed if name not in known and "message" not in known]
    if lacking:
        raise InputError(
            f"'{source}' takes {' and '.join(sorted(known))}, not {' and '.join(lacking)}; "
            "choose another encoder or other content"
        )


def _is(module: Any, kind: str) -> bool:
    return type(module).__name__ == kind


def _pooling_of(modules: Sequence[Any]) -> Any:
    pooled = next((module for module in modules if _is(module, "Pooling")), None)
    if pooled is not None:
        return pooled.pooling_mode
    ready = getattr(modules[0], "module_output_name", "") == "sentence_embedding"
    return "model" if ready or len(modules) > 1 else None


def _check_against(preset: Preset, found: Any, modules: Sequence[Any], commit: str | None) -> None:
    sizes = [m.get_embedding_dimension() for m in modules if hasattr(m, "get_embedding_dimension")]
    pooling = found if isinstance(found, str) else None
    check_preset(preset, dim=sizes[-1] if sizes else None, pooling=pooling, revision=commit)


def _with_pooling(modules: list[Any], wanted: Any, found: Any, source: str | Path) -> list[Any]:
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    if wanted is None:
        raise InputError(
            f"'{source}' does not say how to pool its token vectors and has no preset; add "
            "pooling=mean, pooling=cls, pooling=lasttoken or pooling=pooler (see the model's card)"
        )
    if wanted == found or wanted == "model":
        return modules
    head: Transformer = modules[0]
    others = [module for module in modules[1:] if not _is(module, "Pooling")]
    if wanted == "pooler":
        head.modality_config = {
            key: {"method": "forward", "method_output_name": "pooler_output"}
            for key in head.modality_config
        }
        head.module_output_name = "sentence_embedding"
        return [head, *others]
    if found == "model":
        raise InputError(
            f"'{source}' makes one vector per input by itself; pooling={wanted} does not apply"
        )
    return [head, Pooling(head.get_embedding_dimension(), wanted), *others]


def _default_unit(preset: Preset | None, own: bool, stated: bool) -> bool:
    if stated:
        return own
    return True if preset is None or preset.normalise is None else preset.normalise


def _assemble(modules: Sequence[Any], device: Any) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    head = modules[0]
    if str(head.config.model_type).startswith("siglip") and "text" in head.modality_config:
        # Its text tower was trained on texts filled up to the full length.
        limit = int(head.config.get_text_config().max_position_embeddings)
        filled = {"padding": "max_length", "max_length": limit, "truncation": True}
        head.processing_kwargs = {**head.processing_kwargs, "text": filled}
    return SentenceTransformer(modules=list(modules), device=str(device)).eval()


def _prompt(given: str | None, preset: Preset | None, folder: Path) -> str:
    if given is not None:
        return given
    if preset is not None and preset.prompt:
        return preset.prompt
    path = folder / "config_sentence_transformers.json"
    prompts = read_json(path).get("prompts") or {} if path.is_file() else {}
    return next((prompts[name] for name in _ITEM_PROMPTS if prompts.get(name)), "")


def files_digest(folder: Path) -> str:
    """Digest of tokenizer, processor and configuration: everything small beside the weights."""
    names = ("*.json", "*.txt", "*.model", "*.jinja", "*/*.json")
    files = sorted({file for name in names for file in folder.glob(name) if file.is_file()})
    kept = [file for file in files if file.name != "model.safetensors.index.json"]
    return digest(*(part for f in kept for part in (f.name, f.read_bytes())))


def origin_of(source: str | Path, folder: Path, revision: str | None) -> dict[str, str | None]:
    """The hub id and commit, or the name of a local folder: its place says nothing of it."""
    if Path(source).exists():
        return {"model": folder.resolve().name}
    return {"model": str(source), "revision": revision}
