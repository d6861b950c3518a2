"""The training loop: epochs, validation, early stopping, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphrec.data.sampling import BatchSampler
from graphrec.data.train_view import TrainView
from graphrec.models.base import Recommender
from graphrec.training.checkpoint import (
    Progress,
    has_checkpoint,
    load_checkpoint,
    restore_training,
    save_checkpoint,
    training_tensors,
)
from graphrec.training.config import TrainingSection
from graphrec.training.history import History

Validate = Callable[[Recommender], dict[str, float]]
Report = Callable[["EpochReport"], None]

_CHECK_EVERY = 32


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


@dataclass(frozen=True)
class EpochReport:
    """What an epoch did: its number, mean loss terms, seconds, validation metrics, progress."""

    epoch: int
    losses: dict[str, float]
    seconds: float
    valid: dict[str, float] | None
    progress: Progress

    def describe(self) -> str:
        """A line of the log."""
        if not self.losses and self.valid is None:
            return f"starting after epoch {self.epoch}"
        return f"epoch {self.epoch} losses {self.losses} valid {self.valid}"

    def to_dict(self) -> dict[str, Any]:
        """A line of the history."""
        line: dict[str, Any] = {"epoch": self.epoch, "losses": self.losses}
        return {**line, "seconds": round(self.seconds, 4), "valid": self.valid}


@dataclass
class Trainer:
    """Trains a model and selects its best epoch on validation.

    Every random draw of epoch e comes from (seed, e), and checkpoints are written at the ends of
    epochs, so training that was cut off anywhere continues to the very same result.

    Args:
        model: on the device where it shall be trained.
        train: the training data.
        settings: see `TrainingSection`.
        validate: measures a model on the validation split.
        folder: where `last/`, `best/` and `history.jsonl` go.
        report: called once at the start (without losses) and after each epoch.
    """

    model: Recommender
    train: TrainView
    settings: TrainingSection
    validate: Validate
    folder: Path
    report: Report = field(default=lambda report: None)

    def __post_init__(self) -> None:
        self.progress = Progress()
        self.history = History(self.folder / "history.jsonl")
        self.optimiser = self._make_optimiser()

    def fit(self) -> Progress:
        """Train to the end, or to the time limit; continue from `last/` where it exists."""
        self._restore()
        self.report(EpochReport(self.progress.epoch, {}, 0.0, None, self.progress))
        started = time.monotonic()
        sampler = self._sampler()
        while not self.progress.done:
            self._epoch(sampler)
            minutes = (time.monotonic() - started) / 60
            limit = self.settings.max_minutes
            if limit is not None and minutes >= limit and not self.progress.done:
                self._checkpoint()
                break
        return self.progress

    def _epoch(self, sampler: BatchSampler | None) -> None:
        began, progress = time.monotonic(), self.progress
        losses = self._train_epoch(sampler, progress.epoch) if sampler else {}
        progress.epoch += 1
        settings = self.settings
        final = progress.epoch >= settings.epochs or sampler is None
        due = progress.epoch % settings.eval_every == 0
        valid = self._validate() if due or final else None
        if progress.waited > settings.patience:
            progress.done, progress.reason = True, "no improvement"
        elif final:
            progress.done, progress.reason = True, "all epochs done" if sampler else "not trained"
        seconds = time.monotonic() - began
        progress.seconds += seconds
        report = EpochReport(progress.epoch, losses, seconds, valid, progress)
        self.history.append(report.to_dict())
        if progress.done or progress.epoch % settings.checkpoint_every == 0:
            self._checkpoint()
        self.report(report)

    def _train_epoch(self, sampler: BatchSampler, epoch: int) -> dict[str, float]:
        model, optimiser = self.model, self.optimiser
        assert optimiser is not None
        for group in optimiser.param_groups:
            settings = self.settings
            group["lr"] = settings.lr * settings.lr_decay ** (epoch / settings.lr_decay_epochs)
        model.train()
        model.begin_epoch(epoch)
        sums = LossSums()
        for step, batch in enumerate(sampler.epoch(epoch), start=1):
            optimiser.zero_grad(set_to_none=True)
            terms = model.loss(batch)
            values = torch.stack(list(terms.values()))
            values.sum().backward()
            optimiser.step()
            sums.add(terms, values.detach())
            if step % _CHECK_EVERY == 0:
                sums.check(epoch)
        sums.check(epoch)
        return sums.means()

    def _validate(self) -> dict[str, float]:
        metrics, progress = self.validate(self.model), self.progress
        value = metrics[self.settings.metric]
        if progress.best_value is None or value > progress.best_value:
            progress.best_value, progress.best_metrics = value, metrics
            progress.best_epoch, progress.waited = progress.epoch, 0
            save_checkpoint(self.folder / "best", progress, training_tensors(self.model, None))
        else:
            progress.waited += 1
        return metrics

    def _checkpoint(self) -> None:
        tensors = training_tensors(self.model, self.optimiser)
        save_checkpoint(self.folder / "last", self.progress, tensors)

    def _restore(self) -> None:
        if has_checkpoint(self.folder / "last"):
            self.progress, tensors = load_checkpoint(self.folder / "last")
            restore_training(self.model, self.optimiser, tensors)
        self.history.truncate(self.progress.epoch)

    def _make_optimiser(self) -> torch.optim.Optimizer | None:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not (self.model.trainable and parameters):
            return None
        settings = self.settings
        return torch.optim.Adam(
            parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )

    def _sampler(self) -> BatchSampler | None:
        if self.optimiser is None:
            return None
        view, settings = self.train.to(self.model.device), self.settings
        return BatchSampler(view, self.model.sampling, settings.batch_size, settings.seed)


class LossSums:
    """Sums of loss terms that stay on the device and remember which term broke first.

    Example:
        >>> sums = LossSums()
        >>> for value in (1.0, 3.0):
        ...     sums.add({"bpr": None}, torch.tensor([value]))
        >>> sums.means()
        {'bpr': 2.0}
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._total = torch.zeros(0)
        self._finite = torch.zeros(0, dtype=torch.bool)
        self._steps = 0

    def add(self, names: Iterable[str], values: Tensor) -> None:
        """Add the terms of a step, float [terms] in the order of `names`."""
        if self._steps == 0:
            self._names, self._total = list(names), values.clone()
            self._finite = values.isfinite()
        else:
            self._total += values
            self._finite = torch.where(self._finite.all(), values.isfinite(), self._finite)
        self._steps += 1

    def check(self, epoch: int) -> None:
        """Raise `TrainingError` naming the first term that was not finite."""
        if bool(self._finite.all()):
            return
        broken = [name for name, fine in zip(self._names, self._finite.tolist()) if not fine]
        raise TrainingError(
            f"loss term '{broken[0]}' became infinite or not a number in epoch {epoch + 1}; "
            + ("the last checkpoint is intact. " if epoch else "nothing was learnt yet. ")
            + "Lower training.lr in a new run, or look at the scale of the features"
        )

    def means(self) -> dict[str, float]:
        """Mean of each term over the steps added."""
        return dict(zip(self._names, (self._total / max(self._steps, 1)).tolist()))
