"""From a name such as `st:intfloat/e5-base-v2` to an encoder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from modalities._base.errors import InputError, UnknownNameError
from modalities._base.plugins import load_plugins
from modalities.presets import find_preset, presets
from modalities.protocol import Encoder, Fittable, Modality

GROUP = "graphrec.encoders"
Factory = Callable[..., Any]
F = TypeVar("F", bound=Factory)


@dataclass(frozen=True)
class Family:
    """A kind of encoder.

    Args:
        home: module and attribute of the factory, `module:name.attribute`.
        modalities: what it can encode.
        about: one line for people.
    """

    home: str
    modalities: tuple[Modality, ...]
    about: str


FAMILIES: dict[str, Family] = {
    "st": Family(
        "modalities.encoders.sentence:SentenceEncoder.load",
        ("text", "image", "joint"),
        "any sentence-transformers or transformers model, by hub id or folder",
    ),
    "open_clip": Family(
        "modalities.encoders.clip:ClipEncoder.load",
        ("image", "text"),
        "a CLIP tower: ARCHITECTURE/TAG, folder, or hf-hub:ID",
    ),
    "tfidf": Family(
        "modalities.encoders.tfidf:TfidfRecipe",
        ("text",),
        "TF-IDF and truncated SVD, fitted on the items; no weights",
    ),
    "hashing": Family(
        "modalities.encoders.hashing:HashingText", ("text",), "hashed words; no weights"
    ),
    "pictures": Family(
        "modalities.encoders.pictures:PictureDescriptor",
        ("image",),
        "colour, texture and shape; no weights",
    ),
}
_REGISTERED: dict[str, Factory] = {}


def register_encoder(name: str) -> Callable[[F], F]:
    """Make a class (or function) of your own available as the encoder `name`.

    It is called with what follows the colon of `name:...`, if anything, and the options as
    keywords, and returns an `Encoder`. A package announces one to every process by the entry
    point group `graphrec.encoders`.

    Example:
        >>> import numpy as np
        >>> from modalities import EncoderSpec, make_encoder, register_encoder
        >>> @register_encoder("word-lengths")
        ... class WordLengths:
        ...     modality = "text"
        ...
        ...     def __init__(self, *, dim: int = 8) -> None:
        ...         self.dim = dim
        ...         self.spec = EncoderSpec.of("word-lengths", dim=dim, version=1)
        ...
        ...     def encode(self, batch):
        ...         rows = [np.bincount([min(len(w), self.dim - 1) for w in text.split()],
        ...                             minlength=self.dim) for text in batch]
        ...         return np.array(rows, dtype=np.float32)
        >>> make_encoder("word-lengths", dim=4).encode(["a red hat"])
        array([[0., 1., 0., 2.]], dtype=float32)
    """

    def keep(factory: F) -> F:
        _REGISTERED[name] = factory
        return factory

    return keep


def make_encoder(name: str, *, content: str | None = None, **options: Any) -> Encoder | Fittable:
    """The encoder called `name`.

    Args:
        name: `FAMILY` or `FAMILY:ADDRESS`; see `FAMILIES`, `register_encoder` and `presets`.
        content: text, image or joint, for families that can do several; None: their default.
        options: keyword arguments of the family.

    Raises:
        InputError: no such encoder, a wrong option, an absent package or absent weights.

    Example:
        >>> make_encoder("hashing", dim=64).dim
        64
        >>> make_encoder("hashign")
        Traceback (most recent call last):
        ...
        modalities._base.errors.UnknownNameError: unknown encoder 'hashign'; did you mean ...
    """
    family, _, address = name.partition(":")
    factory = _factory(family, name)
    parameters = inspect.signature(factory).parameters
    positional = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    options = checked_options(f"encoder '{family}'", factory, options)
    if content is not None:
        _check_content(family, content)
        if "content" in parameters:
            options["content"] = content
    if not address and any(p.default is p.empty for p in positional):
        raise InputError(f"encoder '{family}' needs an address: {family}:... ({_about(family)})")
    if address and not positional:
        raise InputError(f"encoder '{family}' takes no address, got '{address}'")
    made = factory(*([address] if address else []), **options)
    if content is not None and getattr(made, "modality", content) != content:
        raise InputError(f"encoder '{name}' encodes {made.modality} content, not {content}")
    return made


def encoder_options(family: str) -> dict[str, inspect.Parameter]:
    """The keyword options of a family."""
    parameters = inspect.signature(_factory(family, family)).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY and n != "content"}


def encoder_doc(family: str) -> str:
    """What the factory of a family says of its options."""
    return inspect.getdoc(_factory(family, family)) or ""


def encoder_families() -> list[str]:
    """Names of all families: built in, registered, and announced by entry points."""
    load_plugins()
    return [*FAMILIES, *sorted({*_REGISTERED, *_announced()} - set(FAMILIES))]


def _factory(family: str, name: str) -> Factory:
    if family not in FAMILIES:
        load_plugins()
    if family in _REGISTERED:
        return _REGISTERED[family]
    if family in FAMILIES:
        module, _, path = FAMILIES[family].home.partition(":")
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        return found
    if family in _announced():
        return _announced()[family]
    preset = find_preset(name)
    if preset is not None:
        raise InputError(f"write the encoder as '{preset.name}', not '{name}'")
    known = [*encoder_families(), *(p.name for p in presets() if p.modality != "caption")]
    raise UnknownNameError("encoder", name, known)


@cache
def _announced() -> Mapping[str, Factory]:
    return {entry.name: _Late(entry) for entry in entry_points(group=GROUP)}


class _Late:
    """An entry point, imported when first called."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._entry.load()(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._entry.load())


def _check_content(family: str, content: str) -> None:
    known = FAMILIES[family].modalities if family in FAMILIES else None
    if known is not None and content not in known:
        raise InputError(f"encoder '{family}' encodes {' or '.join(known)}, not {content}")


def checked_options(whose: str, factory: Factory, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options known to a factory, brought to the types it names.

    Raises:
        InputError: an option it has not (the nearest is named), or of another type.
    """
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY and n != "content"]
    made = factory.__init__ if inspect.isclass(factory) else factory
    hints = {} if isinstance(factory, _Late) else get_type_hints(made)
    checked = {}
    for name, value in options.items():
        if name not in names and not open_ended:
            raise UnknownNameError(f"option of {whose}", name, names)
        try:
            checked[name] = TypeAdapter(hints.get(name, Any)).validate_python(value)
        except ValidationError as error:
            wrong = error.errors()[0]["msg"]
            raise InputError(f"option '{name}' of {whose}: {wrong}, got {value!r}") from None
    return checked


def _about(family: str) -> str:
    return FAMILIES[family].about if family in FAMILIES else "see its documentation"
