"""Write the tables of README and docs from the figures in `benchmarks/results/`.

python benchmarks/tables.py          # rewrite them
python benchmarks/tables.py --check  # exit 1 when one is not up to date
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphrec.evaluation.significance import mark

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 200  # of a run on Sports
PAGES = (ROOT / "README.md", ROOT / "docs" / "models.md", ROOT / "docs" / "research.md")
RESULTS = ROOT / "benchmarks" / "results"


def catalogue_table(results: dict[str, Any]) -> str:
    """Test metrics of the quickstart."""
    shown = list(next(iter(results["models"].values())))
    lines = _header(["model", *shown])
    for name, metrics in results["models"].items():
        lines.append(_row([name, *(f"{metrics[metric]:.4f}" for metric in shown)]))
    note = (
        f"Synthetic catalogue, seed {results['seed']}, test split, one run each; "
        f"data_id `{results['data_id']}`, split_id `{results['split_id']}`, "
        + ", ".join(f"{name} `{value}`" for name, value in results["features"].items())
        + "."
    )
    return "\n".join([*lines, "", note])


def models_table(results: dict[str, Any]) -> str:
    """Models on one dataset: mean and deviation over seeds, gain over LightGCN."""
    shown = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
    names = ["model", "seeds", "epochs", "valid recall@20", *(f"test {name}" for name in shown)]
    lines = _header([*names, "gain in recall@20"])
    ranked = sorted(results["models"].items(), key=lambda item: -item[1]["mean"]["test_recall@20"])
    for name, found in ranked:
        runs = found["runs"]
        cells = [str(len(runs)), _range([run["best_epoch"] for run in runs])]
        cells.append(_deviation([run["valid"]["recall@20"] for run in runs]))
        cells += [_deviation([run["test"][metric] for run in runs]) for metric in shown]
        lines.append(_row([name, *cells, _gain(results, f"{name} - lightgcn")]))
    for name, hours in results.get("not_run", {}).items():
        said = f"not run (est. {hours:.1f} h)"
        lines.append(_row([name, "", "", said, *[""] * (len(shown) + 1)]))
    return "\n".join([*lines, "", _note(results)])


def _note(results: dict[str, Any]) -> str:
    budgets: dict[str, list[str]] = {}
    for name, found in results["models"].items():
        said = " ".join(_quoted(option) for option in found["overrides"])
        budgets.setdefault(said, []).append(name)
    seeds = {tuple(run["seed"] for run in found["runs"]) for found in results["models"].values()}
    features = [found["features"] for found in results["models"].values()]
    ids = {"data_id": results["data_id"], "split_id": results["split_id"], **features[0]}
    command = "python benchmarks/reproduction.py DIR --runs RUNS --out FILE --model"
    commands = [f"`{command} {' '.join(names)} {said}`" for said, names in budgets.items()]
    many = max(seeds, key=len)
    return (
        "Mean \u00b1 standard deviation over the seeds ("
        + ", ".join(str(seed) for seed in many)
        + "); epochs selected on validation recall@20 (their range), test opened once per run; "
        "the gain is the difference of users' test recall@20 to lightgcn, averaged over seeds, "
        "with its 95 % interval over users. "
        + ", ".join(f"{name} `{value}`" for name, value in ids.items())
        + f". {results['source']} "
        + "; ".join(commands)
        + "."
    )


def _hours_not_run(run: Mapping[str, Any]) -> dict[str, float]:
    """Hours of an epoch budget, from the step times measured on the same data."""
    path = RESULTS / "models.json"
    if not path.is_file():
        return {}
    steps = json.loads(path.read_text(encoding="utf-8"))["models"]
    return {
        name: found["seconds_per_epoch"] * EPOCHS / 3600
        for name, found in steps.items()
        if name not in run
    }


def _quoted(option: str) -> str:
    return f'"{option}"' if set(option) & set("[]{} ") else option


def _gain(results: dict[str, Any], name: str) -> str:
    found = results.get("differences", {}).get(name, {}).get("recall@20")
    return _interval(found) if found else ""


def _range(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)}-{max(values)}"


def _deviation(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.fmean(values):.4f} \u00b1 {statistics.stdev(values):.4f}"


def encoders_table(results: dict[str, Any]) -> str:
    """FREEDOM on features of several encoders, against LightGCN."""
    shown = ("recall@20", "ndcg@20")
    names = ["features", "valid recall@20", *(f"test {name}" for name in shown), "gain"]
    lines = _header(names)
    for name, found in results["models"].items():
        runs = found["runs"]
        cells = [_mean([run["valid"]["recall@20"] for run in runs])]
        cells += [_mean([run["test"][metric] for run in runs]) for metric in shown]
        label = "none (lightgcn)" if name == "lightgcn" else name
        lines.append(_row([label, *cells, _gain(results, f"{name} - lightgcn")]))
    return "\n".join([*lines, "", results["note"]])


def training_table(results: dict[str, Any]) -> str:
    """Seconds, ratios and memory against the textbook."""
    lines = _header(["what", "side", "seconds", "ratio to graphrec", "peak MiB"])
    for case in ("lightgcn", "freedom", "freedom-frozen", "ranking"):
        found = results[case]
        for side, seconds in found["seconds"].items():
            ratio = found["ratio"].get(side)
            memory = found.get("peak_memory_mib", {}).get(side, "")
            cells = [case, side, f"{seconds:.2f}", f"{ratio:.1f}" if ratio else "1", str(memory)]
            lines.append(_row(cells))
    setting = results["setting"]
    note = (
        f"Medians of {setting['pairs']} alternating repetitions on {setting['processor']}, "
        f"{setting['threads']} threads, torch {setting['torch']}; seconds per epoch (ranking: per "
        f"evaluation), batch {setting['batch_size']:,}, d = {setting['dim']}."
    )
    return "\n".join([*lines, "", note])


def encoding_table(results: dict[str, Any]) -> str:
    """Items per second of encoders, in alternating pairs."""
    lines = _header(["what", "first", "items/s", "second", "items/s", "ratio (spread)"])
    for group in ("texts", "pictures", "store"):
        for name, found in results[group].items():
            (first, a), (second, b) = found["items_per_second"].items()
            low, high = found["spread"]
            ratio = f"{found['ratio']:.2f} ({low:.2f}-{high:.2f})"
            lines.append(_row([name, first, f"{a:,.0f}", second, f"{b:,.0f}", ratio]))
    setting = results["setting"]
    note = (
        f"Medians of {setting['pairs']} alternating repetitions on {setting['processor']}, "
        f"{setting['threads']} threads, torch {setting['torch']}; batch {setting['batch_size']}; "
        f"{setting['texts']:,} texts, {setting['pictures']} pictures, ViT-B/32 with random weights."
    )
    return "\n".join([*lines, "", note])


def steps_table(results: dict[str, Any]) -> str:
    """A training step of every model beside its textbook form."""
    lines = _header(
        ["model", "s / step", "textbook", "ratio (spread)", "MiB", "textbook", "s / epoch"]
    )
    for name, found in results["models"].items():
        seconds, memory = found["seconds_per_step"], found["memory_mib"]
        ratio = "does not fit"
        if "ratio" in found:
            low, high = found["spread"]
            ratio = f"{found['ratio']:.2f} ({low:.2f}-{high:.2f})"
        book = f"{seconds['textbook']:.3f}" if "textbook" in seconds else ""
        held = f"{memory['textbook']:.0f}" if "textbook" in memory else ""
        mine = [f"{seconds['ours']:.3f}", book, ratio, f"{memory['ours']:.0f}", held]
        lines.append(_row([name, *mine, f"{found['seconds_per_epoch']:.1f}"]))
    setting = results["setting"]
    note = (
        f"Medians of {setting['pairs']} alternating steps on {setting['processor']}, "
        f"{setting['threads']} threads, torch {setting['torch']}; default options, batch sizes as "
        "published; MiB beyond what was held before the first step."
    )
    return "\n".join([*lines, "", note])


def recipe_table(results: dict[str, Any]) -> str:
    """What the search for the recommended composition tried."""
    names = [dataset["name"] for dataset in results["datasets"]]
    lines = _header(["question", "answer", *(f"{name} valid recall@20" for name in names), ""])
    for stage, found in results["stages"].items():
        for label, row in found["candidates"].items():
            cells = [f"{row['valid'][name]:.4f}" for name in names]
            mark = "chosen" if label == found.get("chosen") else ""
            lines.append(_row([stage, label, *cells, mark]))
    return "\n".join(lines)


def study_table(results: dict[str, Any]) -> str:
    """Variants of a study, and the gain in its first metric over the base."""
    metrics = results["study"]["metrics"]
    first, over = metrics[0], results.get("over_random_order", {})
    names = ["variant", *metrics, f"gain in {first} over {results['base']}"]
    lines = _header([*names, *(["over a random order"] if over else [])])
    for label, found in results["variants"].items():
        cells = [_spread(found["metrics"][metric]) for metric in metrics]
        gain = found["gains"].get(first)
        stars = mark(gain["p"], gain["low"], gain["high"]) if gain else ""
        cells.append(f"{_interval(gain)} {stars}".strip() if gain else "")
        if over:
            cells.append(_interval(over["variants"][label]))
        lines.append(_row([label, *cells]))
    ids = {"data_id": results["data_id"], "split_id": results["split_id"], **results["features"]}
    notes = [*results["notes"], ", ".join(f"{name} `{value}`" for name, value in ids.items()) + "."]
    if over:
        notes.append(
            f"A random order of {over['candidates']} cold items reaches {over['metric']} "
            f"{over['expected']:.4f} exactly; the last column is the users' mean difference to "
            "it, seeds averaged first, with its 95 % interval over users."
        )
    return "\n".join([*lines, "", " ".join(notes)])


def _spread(score: Mapping[str, Any]) -> str:
    deviation = score["deviation"]
    return f"{score['mean']:.4f}" + ("" if deviation is None else f" \u00b1 {deviation:.4f}")


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['mean']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def research_table(results: dict[str, Any]) -> str:
    """What studies and their report cost."""
    lines = _header(["what", "measured"])
    workers = results["workers"]
    (slow, first), (fast, second) = workers.items()
    ratio = first["seconds"] / second["seconds"]
    lines += [
        _row([f"{first['runs']} runs, {slow}", f"{first['seconds']:.0f} s"]),
        _row([f"{second['runs']} runs, {fast}", f"{second['seconds']:.0f} s ({ratio:.2f} x)"]),
        _row(
            ["shared in either", ", ".join(f"{n} {what}" for what, n in second["shared"].items())]
        ),
    ]
    lines += [_row([name, value]) for name, value in results["table"].items()]
    setting = results["setting"]
    note = f"On {setting['processor']}, torch {setting['torch']}: `benchmarks/research.py`."
    return "\n".join([*lines, "", note])


TABLES = {
    "catalogue": catalogue_table,
    "sports": models_table,
    "hm": models_table,
    "lastfm": models_table,
    "catalogue_models": models_table,
    "models": steps_table,
    "recipe": recipe_table,
    "study_hm": study_table,
    "cold_items": study_table,
    "research": research_table,
    "encoders": encoders_table,
    "training": training_table,
    "encoding": encoding_table,
}


def main() -> None:
    stale = []
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = _filled(before)
        if after != before:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(after, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)} not up to date; run python benchmarks/tables.py")


def _filled(text: str) -> str:
    for name, table in TABLES.items():
        path = RESULTS / f"{name}.json"
        if path.is_file() and f"<!-- results:{name} -->" in text:
            results = json.loads(path.read_text(encoding="utf-8"))
            if name == "sports":
                results["not_run"] = _hours_not_run(results["models"])
            text = _replaced(text, name, table(results))
    return text


def _replaced(text: str, name: str, table: str) -> str:
    pattern = rf"(<!-- results:{name} -->\n).*?(<!-- /results:{name} -->)"
    return re.sub(pattern, lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL)


def _mean(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.fmean(values):.4f} ({min(values):.4f}-{max(values):.4f})"


def _header(names: list[str]) -> list[str]:
    return [_row(names), "|" + "-|" * len(names)]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
