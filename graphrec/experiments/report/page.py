"""A report as one self-contained page: no network, no other file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from graphrec.evaluation.significance import mark
from graphrec.experiments.across import gain_rows
from graphrec.experiments.compare import Comparison
from graphrec.experiments.report.charts import bar_chart, interval_chart, line_chart
from graphrec.experiments.report.collect import Report, collect_report
from graphrec.experiments.report.levels import Panel
from modalities._base.files import write_text


def write_report(folder: Path, out: Path | None = None, *, data: Path | None = None) -> Path:
    """Write the page of a study folder, a folder of runs, or a run.

    Args:
        folder: where the runs are.
        out: the file; default: `report.html` in the folder.
        data: the dataset, where it has moved.

    Returns:
        The file.

    Raises:
        InputError: there is no finished run.
    """
    target = out or folder / "report.html"
    write_text(target, report_page(collect_report(folder, data=data)))
    return target


def report_page(report: Report) -> str:
    """The page as HTML; whatever comes from data is escaped."""
    text = files("graphrec.experiments.report").joinpath("page.html.j2").read_text("utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
    curves = line_chart(report.curves, "epoch", f"validation {report.metric}")
    cohorts = [(name, _cohort_chart(report, name)) for name in report.cohorts]
    sections = [
        ("results", "Results", True),
        ("levels", "Curves by level", bool(report.panels)),
        ("curves", "Learning curves", bool(curves)),
        ("cohorts", "Cohorts", bool(cohorts)),
        ("cost", "Cost", True),
        ("graphs", "Item graphs", bool(report.health)),
        ("users", "Users", bool(report.examples)),
        ("neighbours", "Nearest items", bool(report.neighbourhoods)),
        ("runs", "Configurations", True),
    ]
    return page.render(
        report=report,
        variants=list(report.curves),
        sections=[(anchor, name) for anchor, name, there in sections if there],
        curves=Markup(curves),
        cohorts=cohorts,
        gains=_gain_chart,
        gain_rows=gain_rows,
        level_chart=_level_chart,
        mark=mark,
    )


def _cohort_chart(report: Report, cohort: str) -> Markup:
    groups = report.cohorts[cohort]
    series = {label: [values.get(label) for values in groups.values()] for label in report.curves}
    return Markup(bar_chart(list(groups), series, "recall@20"))


def _level_chart(panel: Panel, metric: str) -> Markup:
    """Half the usual width, so that two stand side by side and letters suit a phone."""
    bands = panel.bands.get(metric)
    chart = line_chart(
        panel.lines[metric], panel.x_name, metric, bands=bands, width=400, zero=panel.damage
    )
    return Markup(chart)


def _gain_chart(comparison: Comparison, metric: str) -> Markup:
    rows = [
        (variant.label, gain.mean, gain.low, gain.high)
        for variant in comparison.variants
        if (gain := variant.gains.get(metric)) is not None
    ]
    return Markup(interval_chart(rows, f"gain in {metric}"))
