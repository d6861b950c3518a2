"""Pictures to words: a multimodal language model that captions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modalities._base.errors import InputError
from modalities.encoders.backend import (
    Precision,
    dtype_name,
    pick_device,
    pick_dtype,
    quiet_loading,
)
from modalities.encoders.sentence import files_digest, origin_of
from modalities.hub import check_weights, fetch, library_versions, weights_digest
from modalities.presets import find_preset
from modalities.protocol import EncoderSpec

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

PROMPT = (
    "Describe the product in this picture in at most 60 words: what it is, its colours, material, "
    "shape, pattern, style, any text that can be read on it, and what it is for. Leave out brand "
    "and price unless they can be read."
)
PADDING = "left"
_PICTURE = r"(?:product\s+)?(?:image|picture|photo(?:graph)?)"
_SHOWS = r"(?:shows|depicts|features|displays|showcases|is\s+of|presents|contains)"
_SEEN = r"(?:there\s+(?:is|are)|(?:we|you|i)\s+(?:can\s+)?see)"
_OPENING = re.compile(
    rf"^(?:(?:(?:the|this|an?)\s+)?{_PICTURE}\s+{_SHOWS}"
    rf"|in\s+(?:the|this)\s+{_PICTURE},?\s+{_SEEN}"
    rf"|(?:(?:this|here)\s+is\s+)?an?\s+{_PICTURE}\s+of)\s+",
    re.IGNORECASE,
)


class Captioner:
    """A model of the class `AutoModelForImageTextToText`: BLIP-2, LLaVA, Qwen-VL, SmolVLM, ...

    Decoding is greedy unless beams are asked for: sampling gives captions nobody can make again.
    Batches are padded on the left, whatever the processor's own setting: padding on the right
    changes the captions of every family tried.

    Args:
        model: in evaluation mode.
        processor: of the model.
        spec: all that changes the captions.
        prompt: what the model is asked.
        system: what the chat is opened with; None: what the model's own template opens with.
        settings: for `generate`.
        strip_opening: remove openings such as "The image shows", which push the vectors of all
            captions in one direction.
        origin: where the model came from; its weights and files are what the spec names.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        spec: EncoderSpec,
        prompt: str = PROMPT,
        system: str | None = None,
        settings: dict[str, Any] | None = None,
        strip_opening: bool = True,
        origin: Mapping[str, str | None] | None = None,
    ) -> None:
        self.model, self.processor, self.spec, self.origin = model, processor, spec, origin or {}
        self.prompt, self.system, self.settings = prompt, system, dict(settings or {})
        self.strip_opening = strip_opening

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        prompt: str | None = None,
        system: str | None = None,
        max_new_tokens: int = 96,
        min_new_tokens: int = 0,
        num_beams: int = 1,
        strip_opening: bool = True,
        revision: str | None = None,
        device: str = "auto",
        dtype: Precision = "auto",
        remote_code: bool = False,
    ) -> Captioner:
        """Load a model with its processor.

        Args:
            source: a folder, or the id of a model on the hub.
            prompt: what the model is asked about every picture; None: its preset's, else `PROMPT`.
            system: see the class.
            max_new_tokens: the longest caption.
            min_new_tokens: the shortest.
            num_beams: 1: greedy.
            strip_opening: see the class.
            revision: commit on the hub; None: the preset's, else the newest.
            device: auto, cpu, cuda or cuda:N.
            dtype: of weights and computation, see `pick_dtype`.
            remote_code: run code that comes with the model.

        Raises:
            InputError: the model is not there, is incomplete, or does not caption pictures.
        """
        if max_new_tokens < 1 or num_beams < 1:
            raise InputError(
                f"max_new_tokens and num_beams must be at least 1, got {max_new_tokens} and "
                f"{num_beams}"
            )
        if not 0 <= min_new_tokens <= max_new_tokens:
            raise InputError(
                f"min_new_tokens must lie in 0..max_new_tokens={max_new_tokens}, got "
                f"{min_new_tokens}"
            )
        preset = find_preset(str(source))
        if prompt is None:
            prompt = PROMPT if preset is None or preset.prompt is None else preset.prompt
        commit = revision or (preset.revision if preset else None)
        folder = fetch(source, commit)
        weights = weights_digest(folder)  # before loading: it refuses pickles
        place = pick_device(device)
        precision = pick_dtype(dtype, place)
        with quiet_loading():
            model, processor = _load(folder, precision, remote_code)
        settings = {
            "do_sample": False,
            "max_new_tokens": max_new_tokens,
            "min_new_tokens": min_new_tokens,
            "num_beams": num_beams,
        }
        chat = bool(getattr(processor, "chat_template", None))
        if system is not None and not chat:
            raise InputError(f"'{source}' does not chat, so it takes a prompt but no system text")
        spec = EncoderSpec.of(
            "mllm",
            weights=weights,
            files=files_digest(folder),
            images=type(processor.image_processor).__name__,
            prompt=prompt,
            system=system,
            chat=chat,
            strip_opening=strip_opening,
            padding=PADDING,
            dtype=dtype_name(precision),
            **settings,
            **library_versions("transformers"),
        )
        return cls(
            model.to(place).eval(),
            processor,
            spec=spec,
            prompt=prompt,
            system=system,
            settings=settings,
            strip_opening=strip_opening,
            origin=origin_of(source, folder, commit),
        )

    def caption(self, pictures: Sequence[Image]) -> list[str]:
        """A caption per picture, white space folded; "" where the model said nothing."""
        import torch

        if not pictures:
            return []
        inputs = self._inputs(pictures).to(self.model.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(self.model.dtype)
        with torch.inference_mode(), quiet_loading():
            tokens = self.model.generate(**inputs, **self.settings)
        said = _answer(tokens, inputs["input_ids"])
        texts = self._tokenizer.batch_decode(said, skip_special_tokens=True)
        return [self._cleaned(text) for text in texts]

    @property
    def _tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def _chatting(self) -> bool:
        return bool(getattr(self.processor, "chat_template", None))

    def _inputs(self, pictures: Sequence[Image]) -> Any:
        self._tokenizer.padding_side = PADDING
        inputs = (self._chats if self._chatting else self._texts)(pictures)
        config = self.model.config
        token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
        if token is not None and not bool((inputs["input_ids"] == token).any(dim=1).all()):
            raise InputError(
                "the processor of this model gives the picture no place in the prompt, so captions "
                "would not depend on it; use a newer revision of the model"
            )
        return inputs

    def _texts(self, pictures: Sequence[Image]) -> Any:
        return self.processor(
            images=list(pictures),
            text=[self.prompt] * len(pictures),
            return_tensors="pt",
            padding=True,
        )

    def _chats(self, pictures: Sequence[Image]) -> Any:
        question = {"type": "text", "text": self.prompt}
        opening = []
        if self.system is not None:
            said = [{"type": "text", "text": self.system}]
            opening = [{"role": "system", "content": said}]
        chats = [
            [*opening, {"role": "user", "content": [{"type": "image", "image": picture}, question]}]
            for picture in pictures
        ]
        return self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )

    def _cleaned(self, text: str) -> str:
        plain = " ".join(text.split())
        if not self.strip_opening:
            return plain
        rest = _OPENING.sub("", plain)
        return rest[:1].upper() + rest[1:] if rest != plain else plain


def _load(folder: Path, precision: Any, remote_code: bool) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    trust = {"trust_remote_code": remote_code}
    try:
        config = AutoConfig.from_pretrained(folder, **trust)
        model, loading = AutoModelForImageTextToText.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # to be named by check_weights
            output_loading_info=True,
            **trust,
        )
        processor = AutoProcessor.from_pretrained(folder, **trust)
    except ImportError as error:
        raise InputError(f"'{folder}' needs an absent package: {_first_line(error)}") from None
    except SafetensorError as error:
        raise InputError(
            f"the weights in '{folder}' are damaged ({error}); download the model again"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise InputError(
                f"'{folder}' runs code of its own; look at it, then allow it with "
                "caption.remote_code=true"
            ) from None
        raise InputError(
            f"'{folder}' is no model that turns pictures into text: {_first_line(error)}"
        ) from None
    check_weights(loading, folder)
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(f"'{folder}' has no processor for pictures and text")
    _complete(processor, model.config)
    return model, processor


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _complete(processor: Any, config: Any) -> None:
    """Tell a processor what older files leave out."""
    if getattr(processor, "num_query_tokens", 0) is None:  # BLIP-2 would not see the picture
        processor.num_query_tokens = config.num_query_tokens
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token


def _answer(tokens: Tensor, prompt: Tensor) -> Tensor:
    """What was said after the prompt: some models repeat it before their answer, some do not."""
    length = prompt.shape[1]
    repeated = tokens.shape[1] >= length and bool((tokens[:, :length] == prompt).all())
    return tokens[:, length:] if repeated else tokens
