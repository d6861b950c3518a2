"""Pictures to words: a multimodal language model that captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from modalities.encoders.sentence import files_digest, shown
from modalities.hub import check_weights, fetch, library_versions, weights_digest
from modalities.presets import find_preset
from modalities.protocol import EncoderSpec

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT = (
    "Describe the product in this picture in at most 60 words: what it is, its colours, material, "
    "shape, pattern, style, any text that can be read on it, and what it is for. Leave out brand "
    "and price unless they can be read."
)
_OPENING = re.compile(
    r"^(?:(?:the|this|an?)\s+)?(?:image|picture|photo(?:graph)?)\s+"
    r"(?:shows|depicts|features|displays|is of|presents|contains)\s+",
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
        settings: for `generate`.
        strip_opening: remove openings such as "The image shows", which push the vectors of all
            captions in one direction.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        spec: EncoderSpec,
        prompt: str = PROMPT,
        settings: dict[str, Any] | None = None,
        strip_opening: bool = True,
    ) -> None:
        self.model, self.processor, self.spec = model, processor, spec
        self.prompt, self.settings = prompt, dict(settings or {})
        self.strip_opening = strip_opening

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        prompt: str = PROMPT,
        max_new_tokens: int = 96,
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
            prompt: what the model is asked about every picture.
            max_new_tokens: the longest caption.
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
        preset = find_preset(str(source))
        commit = revision or (preset.revision if preset else None)
        folder = fetch(source, commit)
        place = pick_device(device)
        precision = pick_dtype(dtype, place)
        with quiet_loading():
            model, processor = _load(folder, precision, remote_code)
        settings = {
            "do_sample": False,
            "max_new_tokens": max_new_tokens,
            "num_beams": num_beams,
        }
        chat = bool(getattr(processor, "chat_template", None))
        spec = EncoderSpec.of(
            "mllm",
            model=shown(source, folder),
            revision=commit,
            weights=weights_digest(folder),
            files=files_digest(folder),
            prompt=prompt,
            chat=chat,
            strip_opening=strip_opening,
            padding="left",
            dtype=dtype_name(precision),
            **settings,
            **library_versions("transformers"),
        )
        return cls(
            model.to(place).eval(),
            processor,
            spec=spec,
            prompt=prompt,
            settings=settings,
            strip_opening=strip_opening,
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
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **self.settings)
        said = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self._tokenizer.batch_decode(said, skip_special_tokens=True)
        return [self._cleaned(text) for text in texts]

    @property
    def _tokenizer(self) -> Any:
        return self.processor.tokenizer

    def _inputs(self, pictures: Sequence[Image]) -> Any:
        self._tokenizer.padding_side = "left"
        if not getattr(self.processor, "chat_template", None):
            return self.processor(
                images=list(pictures),
                text=[self.prompt] * len(pictures),
                return_tensors="pt",
                padding=True,
            )
        question = {"type": "text", "text": self.prompt}
        chats = [
            [{"role": "user", "content": [{"type": "image", "image": picture}, question]}]
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
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    trust = {"trust_remote_code": remote_code}
    try:
        config = AutoConfig.from_pretrained(folder, **trust)
        model, loading = AutoModelForImageTextToText.from_pretrained(
            folder, config=config, dtype=precision, output_loading_info=True, **trust
        )
        processor = AutoProcessor.from_pretrained(folder, **trust)
    except (OSError, ValueError, KeyError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "trust_remote_code" in str(error):
            raise InputError(
                f"'{folder}' runs code of its own; look at it, then allow it with "
                "caption.remote_code=true"
            ) from None
        raise InputError(f"'{folder}' is no model that turns pictures into text: {said}") from None
    check_weights(loading, folder)
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(f"'{folder}' has no processor for pictures and text")
    return model, processor
