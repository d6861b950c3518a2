"""What people see: tables on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from modalities._base import progress as base_progress

if TYPE_CHECKING:
    import polars as pl

    from graphrec.training.config import Experiment
    from graphrec.training.robustness import Curve
    from graphrec.training.trainer import EpochReport


def out() -> Console:
    """The console for results."""
    return Console(highlight=False)


class TrainingDisplay:
    """A progress bar over epochs: losses by name, validation now and at best, time left.

    The time left is that of all epochs; stopping early makes it shorter.

    Args:
        experiment: names the model, the epochs and the metric.
        show: False prints nothing.
    """

    def __init__(self, experiment: Experiment, *, show: bool = True) -> None:
        self._metric = experiment.training.metric
        self._total = experiment.training.epochs
        self._name = experiment.model.name
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[status]}"),
        )
        self._bar = Progress(*columns, console=base_progress.console(), disable=not show)
        self._task = self._bar.add_task(self._name, total=self._total, left="", status="")
        self._seconds: list[float] = []
        self._valid: float | None = None

    def __enter__(self) -> TrainingDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, report: EpochReport) -> None:
        """Show an epoch."""
        self._bar.start()
        done = report.progress.done
        total = report.epoch if done else self._total
        left = "" if done else self._left(report)
        self._bar.update(
            self._task, completed=report.epoch, total=total, left=left, status=self._status(report)
        )

    def _status(self, report: EpochReport) -> str:
        said = [f"{name} {value:.4g}" for name, value in report.losses.items()]
        if report.valid is not None:
            self._valid = report.valid[self._metric]
        best = report.progress.best_value
        if best is not None:
            now = f"now {self._valid:.4f}, " if self._valid is not None else ""
            epoch = report.progress.best_epoch
            said.append(f"{self._metric} {now}best {best:.4f} (epoch {epoch})")
        return "  ".join(said)

    def _left(self, report: EpochReport) -> str:
        """Time for the epochs that are left, from the last ones, validation included."""
        if report.seconds:
            self._seconds = [*self._seconds[-19:], report.seconds]
        if not self._seconds:
            return ""
        mean = sum(self._seconds) / len(self._seconds)
        return f"{timedelta(seconds=round(mean * (self._total - report.epoch)))} left"


def key_values(title: str, values: Mapping[str, Any]) -> Group:
    """A heading and a line per value."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for key, value in values.items():
        table.add_row(f"  {escape(key)}", escape(_cell(value)))
    return Group(f"[bold]{escape(title)}[/]", table)


def metric_table(
    title: str, rows: Mapping[str, Mapping[str, float]], names: Sequence[str]
) -> Table:
    """Metrics of several rows, four decimals, the best of each column in bold."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    best = {name: max(row.get(name, 0.0) for row in rows.values()) for name in names}
    for label, row in rows.items():
        cells = [
            f"[bold]{row[name]:.4f}[/]"
            if row[name] == best[name] and len(rows) > 1
            else f"{row[name]:.4f}"
            for name in names
        ]
        table.add_row(label, *cells)
    return table


def split_table(metrics: Mapping[str, Any], ks: Sequence[int]) -> Group:
    """Metrics of one run: a table per split, a row per metric, a column per cut-off."""
    splits = [name for name in ("valid", "test") if name in metrics]
    return Group(*(_one_split(split, metrics[split], ks) for split in splits))


def _one_split(split: str, metrics: Mapping[str, float], ks: Sequence[int]) -> Table:
    table = Table(title=split, title_justify="left")
    table.add_column("metric", min_width=9)
    for k in ks:
        table.add_column(f"@{k}", justify="right", min_width=6)
    for base in dict.fromkeys(name.partition("@")[0] for name in metrics):
        values = [metrics.get(f"{base}@{k}") for k in ks]
        table.add_row(base, *("" if v is None else f"{v:.4f}" for v in values))
    return table


def curve_table(title: str, curve: Curve, metrics: Sequence[str]) -> Table:
    """A row per level: each metric, and its change relative to level 0."""
    table = Table(title=escape(title), title_justify="left")
    for name in ("level", *(part for metric in metrics for part in (metric, "change"))):
        table.add_column(name, justify="right")
    rows: dict[float, list[str]] = {}
    for level, _, value, deviation, change in curve.frame(metrics).iter_rows():
        spread = "" if deviation is None else f" \u00b1 {deviation:.4f}"
        relative = "" if change is None or level == 0 else f"{change:+.1%}"
        rows.setdefault(level, []).extend([f"{value:.4f}{spread}", relative])
    for level, cells in rows.items():
        table.add_row(f"{level:g}", *cells)
    return table


def frame_table(frame: pl.DataFrame, title: str = "") -> Table:
    """Any small data frame."""
    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        side = "right" if dtype.is_numeric() else "left"
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in frame.iter_rows():
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
