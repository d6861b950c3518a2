"""Write the tables of the README from the figures in `benchmarks/results/`.

python benchmarks/tables.py          # rewrite README.md
python benchmarks/tables.py --check  # exit 1 when README.md is not up to date
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
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


def sports_table(results: dict[str, Any]) -> str:
    """Mean and range over seeds on Amazon Sports."""
    shown = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
    lines = _header(["model", "seeds", "valid recall@20", *(f"test {name}" for name in shown)])
    for name, found in results["models"].items():
        runs = found["runs"]
        seeds = ", ".join(str(run["seed"]) for run in runs)
        cells = [_mean([run["valid"]["recall@20"] for run in runs])]
        cells += [_mean([run["test"][metric] for run in runs]) for metric in shown]
        lines.append(_row([name, seeds, *cells]))
    return "\n".join([*lines, "", results["note"]])


def encoders_table(results: dict[str, Any]) -> str:
    """FREEDOM on features of several encoders, against LightGCN."""
    shown = ("recall@20", "ndcg@20")
    names = ["features", "valid recall@20", *(f"test {name}" for name in shown), "gain"]
    lines = _header(names)
    for name, found in results["models"].items():
        runs = found["runs"]
        cells = [_mean([run["valid"]["recall@20"] for run in runs])]
        cells += [_mean([run["test"][metric] for run in runs]) for metric in shown]
        gain = results["differences"].get(f"{name} - lightgcn", {}).get("recall@20")
        said = f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]" if gain else ""
        label = "none (lightgcn)" if name == "lightgcn" else name
        lines.append(_row([label, *cells, said]))
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


TABLES = {
    "catalogue": catalogue_table,
    "sports": sports_table,
    "encoders": encoders_table,
    "training": training_table,
    "encoding": encoding_table,
}


def main() -> None:
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = before
    for name, table in TABLES.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            after = _replaced(after, name, table(json.loads(path.read_text(encoding="utf-8"))))
    if "--check" in sys.argv and after != before:
        sys.exit("README.md is not up to date; run python benchmarks/tables.py")
    readme.write_text(after, encoding="utf-8")


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
