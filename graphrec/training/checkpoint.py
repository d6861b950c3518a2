"""Checkpoints: safetensors and a JSON state that names them, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modalities._base.errors import InputError
from modalities._base.files import atomic_file, read_manifest, write_json

FORMAT = "graphrec.checkpoint"
VERSION = 1


@dataclass
class Progress:
    """Where training stands after an epoch.

    Args:
        epoch: epochs completed.
        best_epoch: epoch of the best validation, 0 before the first.
        best_value: the selecting metric there, at full precision.
        best_metrics: all validation metrics there.
        waited: validations since then.
        seconds: time spent in training and validation.
        done: nothing is left to train.
        reason: why it ended.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    seconds: float = 0.0
    done: bool = False
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def save_checkpoint(folder: Path, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors under a new name, then the state that points to them, then drop the old.

    Whenever the process dies, `folder` holds one complete checkpoint: the old or the new.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"epoch-{progress.epoch:06d}.safetensors"
    with atomic_file(folder / name) as temporary:
        save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)
    state = {"format": FORMAT, "version": VERSION, "tensors": name, "progress": progress.to_dict()}
    write_json(folder / "state.json", state)
    for other in folder.glob("*.safetensors"):
        if other.name != name:
            other.unlink()


def load_checkpoint(folder: Path) -> tuple[Progress, dict[str, Tensor]]:
    """Read what `save_checkpoint` wrote.

    Raises:
        InputError: there is no checkpoint, or it is damaged.
    """
    if not (folder / "state.json").is_file():
        raise InputError(f"there is no checkpoint in '{folder}'")
    try:
        state = read_manifest(folder / "state.json", FORMAT, VERSION)
        tensors = load_file(folder / state["tensors"])
        return Progress(**state["progress"]), tensors
    except (OSError, SafetensorError, InputError, KeyError, TypeError) as error:
        raise InputError(
            f"the checkpoint in '{folder}' is damaged: {error}; remove this folder to train the "
            "run again from the start"
        ) from None


def has_checkpoint(folder: Path) -> bool:
    """Is there a checkpoint to load?"""
    return (folder / "state.json").is_file()


def training_tensors(
    model: nn.Module, optimiser: torch.optim.Optimizer | None
) -> dict[str, Tensor]:
    """Everything an exact continuation needs: weights, optimiser state, global random states."""
    tensors = dict(_packed(name, value) for name, value in model.state_dict().items())
    if optimiser is not None:
        for name, parameter in model.named_parameters():
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser/{name}/{key}"] = value.cpu()
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return tensors


def restore_training(
    model: nn.Module, optimiser: torch.optim.Optimizer | None, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `training_tensors` took."""
    restore_model(model, tensors)
    if optimiser is not None:
        _restore_optimiser(model, optimiser, tensors)
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])


def restore_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the weights of a checkpoint.

    Raises:
        InputError: they belong to a model of another shape.
    """
    prefix = "model/"
    weights: dict[str, Any] = {
        k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
    }
    for key, value in tensors.items():
        if key.startswith("json/"):
            weights[key.removeprefix("json/")] = json.loads(bytes(value.tolist()))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the checkpoint does not fit the model, which another version of graphrec, or of the "
            f"model's own code, may have made; train it again ({reason})"
        ) from None


def _packed(name: str, value: Any) -> tuple[str, Tensor]:
    """A tensor as it is; other state (`get_extra_state`) as the bytes of its JSON."""
    if isinstance(value, Tensor):
        return f"model/{name}", value.cpu()
    try:
        data = json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"'{name}' must be a tensor or JSON values to be kept in a checkpoint: {error}"
        ) from None
    return f"json/{name}", torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _restore_optimiser(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        prefix = f"optimiser/{name}/"
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if found:
            optimiser.state[parameter] = {
                key: value.clone() if key == "step" else value.to(parameter.device)
                for key, value in found.items()
            }
