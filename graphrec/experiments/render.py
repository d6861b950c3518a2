"""A comparison as text: for the terminal, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from graphrec.evaluation.significance import Difference, mark
from graphrec.experiments.across import AcrossSplits, across_splits, gain_rows
from graphrec.experiments.compare import Comparison, Score, Variant
from modalities._base.errors import UnknownNameError

FORMATS = ("table", "markdown", "latex", "csv", "json")


def render(comparisons: Sequence[Comparison], form: str) -> str:
    """The comparisons as text in one of `FORMATS` but `table`, which `tables` makes.

    Raises:
        UnknownNameError: another format.
    """
    if form == "markdown":
        across = across_splits(comparisons)
        return "\n\n".join(
            [*(_markdown(one) for one in comparisons), *(_markdown_across(one) for one in across)]
        )
    if form == "latex":
        return "\n\n".join(_latex(one) for one in comparisons)
    if form == "csv":
        return _csv(comparisons)
    if form == "json":
        return json.dumps([to_dict(one) for one in comparisons], indent=2)
    raise UnknownNameError("format", form, FORMATS)


def tables(comparisons: Sequence[Comparison], console: Console) -> RenderableType:
    """The comparisons for a terminal; a table for each metric where one is too narrow for all."""
    parts: list[RenderableType] = []
    for one in comparisons:
        made = [_table(one, range(len(one.metrics)))]
        if console.measure(made[0], options=console.options.update(width=10_000)).maximum > (
            console.width
        ):
            made = [_table(one, [place]) for place in range(len(one.metrics))]
        parts += [*made, *(escape(note) for note in one.notes)]
    for together in across_splits(comparisons):
        for metric in together.metrics:
            names, rows = gain_rows(together, metric)
            table = Table(title=_title_across(together), title_justify="left")
            for name in names:
                table.add_column(name, justify="left" if name == "model" else "right")
            for row in rows:
                table.add_row(*(escape(cell) for cell in row))
            parts.append(table)
        parts += together.notes
    return Group(*parts)


def _table(one: Comparison, places: Sequence[int]) -> Table:
    """Some of the metrics."""
    columns = [0, 1, *(column for place in places for column in (2 + 2 * place, 3 + 2 * place))]
    header = _header(one)
    table = Table(title=_title(one), title_justify="left")
    for column in columns:
        table.add_column(header[column], justify="right" if column else "left", overflow="fold")
    for variant in one.variants:
        cells = _marked(one, variant, escape, "[bold]{}[/]")
        table.add_row(*(cells[column] for column in columns))
    return table


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain values; infinite effect sizes become null."""
    return json.loads(json.dumps(asdict(comparison)), parse_constant=lambda _: None)


def _markdown(one: Comparison) -> str:
    names = _header(one)
    lines = ["| " + " | ".join(names) + " |", "|-|" + "-:|" * (len(names) - 1)]
    for variant in one.variants:
        cells = _marked(one, variant, lambda cell: cell.replace("|", r"\|"), "**{}**")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([f"**{_title(one)}**", "", *lines, "", *one.notes])


def _markdown_across(one: AcrossSplits) -> str:
    lines = [f"**{_title_across(one)}**"]
    for metric in one.metrics:
        names, rows = gain_rows(one, metric)
        lines += ["", "| " + " | ".join(names) + " |", "|-|" + "-:|" * (len(names) - 1)]
        lines += ["| " + " | ".join(c.replace("|", r"\|") for c in row) + " |" for row in rows]
    return "\n".join([*lines, "", *one.notes])


def _latex(one: Comparison) -> str:
    names = _header(one)
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escaped(_title(one))}. {_escaped(' '.join(one.notes))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
        r"\toprule",
        " & ".join(_escaped(name) for name in names) + r" \\",
        r"\midrule",
    ]
    for variant in one.variants:
        cells = _marked(one, variant, _escaped, r"\textbf{{{}}}")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\u00b1": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


_COLUMNS = (
    *("dataset", "data_id", "split_id", "split", "variant", "seeds", "metric"),
    *("mean", "low", "high", "deviation"),
    *("base", "gain", "gain_low", "gain_high", "p", "p_holm", "effect"),
)


def _csv(comparisons: Sequence[Comparison]) -> str:
    """One line for each variant and metric, at full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in comparisons:
        for variant in one.variants:
            for metric in one.metrics:
                score, gain = variant.scores[metric], variant.gains.get(metric)
                row = [one.dataset, one.data_id, one.split_id, one.split, variant.label]
                row += [" ".join(map(str, variant.seeds)), metric]
                values: list[Any] = [score.mean, score.low, score.high, score.deviation]
                if gain:
                    values += [one.base, gain.mean, gain.low, gain.high, gain.p]
                    values += [variant.p[metric], gain.effect]
                writer.writerow([*row, *values, *[""] * (11 - len(values))])
    return text.getvalue()


def _title_across(one: AcrossSplits) -> str:
    return f"{one.dataset}, {one.split}, split by split"


def _title(one: Comparison) -> str:
    return f"{one.dataset}, {one.split} (split {one.split_id[:8]})"


def _header(one: Comparison) -> list[str]:
    names = ["model", "seeds"]
    for metric in one.metrics:
        names += [metric, "gain"]
    return names


def _cells(one: Comparison, variant: Variant) -> list[str]:
    cells = [variant.label, str(len(variant.seeds))]
    for metric in one.metrics:
        gain = variant.gains.get(metric)
        cells += [_score(variant.scores[metric]), _gain(gain, variant.p[metric]) if gain else ""]
    return cells


def _marked(
    one: Comparison, variant: Variant, escaped: Callable[[str], str], bold: str
) -> list[str]:
    """The cells of a row, escaped, with the best of each metric in bold."""
    cells = [escaped(cell) for cell in _cells(one, variant)]
    for place, metric in enumerate(one.metrics):
        if one.best(metric) == variant.label:
            cells[2 + 2 * place] = bold.format(cells[2 + 2 * place])
    return cells


def _score(score: Score) -> str:
    spread = "" if score.deviation is None else f" \u00b1 {score.deviation:.4f}"
    return f"{score.mean:.4f}{spread}"


def _gain(gain: Difference, p: float) -> str:
    stars = mark(p, gain.low, gain.high)
    return f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] {stars}".rstrip()
