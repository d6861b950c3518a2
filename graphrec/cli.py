"""The command line: thin commands, each calling one public function."""

from __future__ import annotations

import errno
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from modalities._base.errors import InputError

app = typer.Typer(
    name="graphrec",
    help="Graph-based multimodal recommendation: prepare data, train, evaluate, recommend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data = typer.Typer(help="Make, convert, split and inspect datasets.", no_args_is_help=True)
app.add_typer(data, name="data")

REPEATED = {"--reviews", "--meta", "--user", "--levels", "--modality"}


class Method(str, Enum):
    """Ways to split."""

    given = "given"
    user_random = "user-random"
    user_time = "user-time"
    global_time = "global-time"
    leave_one_out = "leave-one-out"
    k_fold = "k-fold"
    cold_item = "cold-item"
    cold_user = "cold-user"


class Order(str, Enum):
    """Who is cold."""

    random = "random"
    time = "time"


class BadValues(str, Enum):
    """What to do with features that are not finite."""

    error = "error"
    missing = "missing"
    zero = "zero"


class Damage(str, Enum):
    """Ways to spoil features."""

    missing = "missing"
    noise = "noise"
    shuffled = "shuffled"


class SplitName(str, Enum):
    """Splits that can be evaluated."""

    test = "test"
    valid = "valid"


Out = Annotated[Path, typer.Option(help="Folder to write; it must not exist yet.")]
Seed = Annotated[int, typer.Option(help="Seed of the split.")]
SplitMethod = Annotated[
    Method | None,
    typer.Option(help="How to split; default: given labels, else user-random."),
]
RatingMin = Annotated[float | None, typer.Option(help="Keep interactions rated at least this.")]
KCore = Annotated[
    int | None, typer.Option(min=1, help="Keep users and items with at least K interactions.")
]
Strict = Annotated[bool, typer.Option("--strict", help="A malformed line is fatal.")]
Encode = Annotated[
    bool,
    typer.Option("--encode", help="Encode texts and pictures with the weights-free encoders."),
]


def _print_version(asked: bool) -> None:
    if asked:
        from graphrec._version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Python file (or module) that registers models, parts or encoders of your own; "
            "repeat for several.",
        ),
    ] = None,
) -> None:
    if plugin:
        from modalities._base.plugins import add_plugins

        add_plugins(plugin)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the catalogue and the runs.")] = Path(
        "quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the catalogue and of training.")] = 0,
) -> None:
    """Build the synthetic catalogue, train three models on it and compare them."""
    from graphrec.quickstart import run_quickstart

    run_quickstart(out, seed=seed)


@app.command()
def train(
    target: Annotated[str | None, typer.Argument(metavar="[DIR]", help="Dataset folder.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Such as training.epochs=10 model.layers=2."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="See 'graphrec models'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run instead.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random stream.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    no_test: Annotated[bool, typer.Option("--no-test", help="Leave the test split shut.")] = False,
) -> None:
    """Train a model on DIR, or continue a run."""
    from graphrec.commands import continue_training, start_training

    changes = list(overrides or [])
    if target is not None and "=" in target and not Path(target).exists():
        changes.insert(0, target)
        target = None
    flags = {"training.seed": seed, "training.device": device, "model.name": model}
    changes += [f"{key}={value}" for key, value in flags.items() if value is not None]
    if resume is not None:
        given = {"--out": out, "--config": config, "--model": model}
        for option, value in given.items():
            if value is not None:
                raise InputError(f"{option} has no meaning with --resume; the run has its own")
        continue_training(resume, target, changes, test=not no_test)
        return
    if target is None or out is None:
        raise InputError("give a dataset folder and --out RUN, or continue a run with --resume RUN")
    start_training(target, out, config, changes, test=not no_test)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    split: Annotated[SplitName, typer.Option(help="Which split.")] = SplitName.test,
    data: Annotated[
        Path | None,
        typer.Option(help="The dataset, where it has moved; or other data, for alpharec."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    same_encoder: Annotated[
        bool,
        typer.Option("--same-encoder", help="Other data's features are of the run's encoder."),
    ] = False,
    cohorts: Annotated[
        bool, typer.Option("--cohorts", help="Show groups of users and items, as recorded.")
    ] = False,
) -> None:
    """Measure the best epoch of a run; opening test is recorded."""
    from graphrec.commands import show_cohorts, show_evaluation

    if cohorts:
        show_cohorts(run, split.value)
    else:
        show_evaluation(run, split.value, data, device, same_encoder=same_encoder)


@app.command()
def robustness(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    kind: Annotated[Damage, typer.Option(help="What happens to the features.")],
    levels: Annotated[
        list[float] | None,
        typer.Option(
            help="Shares of the items, or scales of the noise, such as --levels 0.5 1; "
            "default: 0 0.25 0.5 0.75 1."
        ),
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="Features to spoil; default: all the run uses.")
    ] = None,
    split: Annotated[SplitName, typer.Option(help="Which split.")] = SplitName.valid,
    seeds: Annotated[int, typer.Option(min=1, help="Draws per level.")] = 3,
    metric: Annotated[
        list[str] | None, typer.Option(help="To show, such as recall@20; repeat for several.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The dataset, where it has moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Measure a trained run on spoiled features; opening test is recorded.

    Parameters stay as trained; graphs and all that is read from content are made anew from
    features of which a share is missing or shuffled, or to which noise is added. For training on
    spoiled features, or on flipped interactions, see 'graphrec ablate'.
    """
    from graphrec.commands import show_robustness

    show_robustness(
        run,
        kind.value,
        levels,
        metric,
        data,
        modalities=modality,
        split=split.value,
        seeds=seeds,
        device=device,
    )


@app.command()
def ablate(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="YAML file, or a ready study such as encoders.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the study; run again to continue.")],
    data: Annotated[Path | None, typer.Option(help="Dataset, instead of the file's.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs trained at a time; default: 1, or what the Ray cluster has room for."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads of each; default: the machine's, shared out, or 1 with Ray."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="What trains: local (processes of this machine) or ray (a cluster).")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a running Ray cluster: auto or HOST:PORT; default: Ray is started here."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Train every variant of a study, then open test once for each and compare them."""
    from graphrec.commands import run_ablation

    run_ablation(
        study,
        out,
        data,
        workers=workers,
        threads=threads,
        engine=engine,
        address=address,
        dry_run=dry_run,
    )


@app.command()
def tune(
    search: Annotated[Path, typer.Argument(metavar="SEARCH", help="YAML file of the search.")],
    out: Annotated[Path, typer.Option(help="Folder of the search; run again to go on.")],
    data: Annotated[Path | None, typer.Option(help="Dataset, instead of the file's.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials, instead of the file's.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of this session.")] = None,
) -> None:
    """Search options on validation, pruning what falls behind; test stays shut."""
    from graphrec.commands import run_search

    run_search(search, out, {"data": data and str(data), "trials": trials, "minutes": minutes})


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A study, runs, or a run.")],
    out: Annotated[Path | None, typer.Option(help="File; default: report.html in DIR.")] = None,
    data: Annotated[Path | None, typer.Option(help="The dataset, where it has moved.")] = None,
) -> None:
    """Write one self-contained page: tables, curves, cohorts, users with pictures, everything."""
    from graphrec.experiments.report import write_report

    typer.echo(f"wrote {write_report(folder, out, data=data)}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="Such as recall@20; repeat for several.")
    ] = None,
    split: Annotated[SplitName, typer.Option(help="Which measurements.")] = SplitName.test,
    base: Annotated[
        str | None, typer.Option(help="Gains are over this variant (label or run); default: first.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="RUN=NAME", help="Name a run; repeat for several.")
    ] = None,
    test: Annotated[str, typer.Option(help="t, wilcoxon or randomisation.")] = "t",
    form: Annotated[
        str, typer.Option("--format", help="table, markdown, latex, csv or json.")
    ] = "table",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="A table for each kind of data, split, evaluation.")
    ] = False,
) -> None:
    """Compare finished runs: means, gains with intervals and paired tests; nothing is measured."""
    from graphrec.commands import show_comparison

    show_comparison(
        runs,
        metric or [],
        label or [],
        form,
        split=split.value,
        base=base,
        test=test,
        anyway=anyway,
    )


@app.command()
def recommend(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    user: Annotated[list[str], typer.Option(help="External user id; repeat for several.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Items per user.")] = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Keep items the user already has.")
    ] = False,
) -> None:
    """Recommend items to users, from the run folder alone."""
    from graphrec.commands import show_recommendations

    show_recommendations(run, user, k, include_seen=include_seen)


@app.command()
def export(run: Annotated[Path, typer.Argument(help="Run folder.")], out: Out) -> None:
    """Write user and item vectors with external ids, as Parquet."""
    from graphrec.serving.run import load_run

    load_run(run).export(out)
    typer.echo(f"wrote users.parquet and items.parquet to {out}")


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="One model's options.")] = None,
) -> None:
    """List the models, or one model's options, defaults and source."""
    from graphrec.commands import show_model, show_models

    show_models() if name is None else show_model(name)


@app.command()
def encode(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder.")],
    name: Annotated[str, typer.Option(help="What to call the features.")],
    encoder: Annotated[
        str, typer.Option(help="Such as open_clip:ViT-B-32/TAG; see 'graphrec encoders'.")
    ],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Of the encoder, such as pooling=mean dtype=float32."
        ),
    ] = None,
    content: Annotated[
        str | None,
        typer.Option(help="'image', a template such as '{title}. {brand}', or 'image + TEMPLATE'."),
    ] = None,
    caption: Annotated[
        str | None, typer.Option(help="Caption the pictures first, by mllm:SOURCE.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Inputs per call of the encoder.")] = 32,
    caption_batch_size: Annotated[int, typer.Option(min=1, help="Pictures per captioning.")] = 4,
    rows_per_part: Annotated[
        int | None, typer.Option(min=1, help="Rows per file; set when the features are made.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that open pictures ahead.")] = 0,
    failures: Annotated[
        float, typer.Option(min=0, max=1, help="Stop when more than this share fails.")
    ] = 0.5,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make features of that name again, otherwise.")
    ] = False,
) -> None:
    """Encode the items of DATASET; run again to continue, or to add what is new.

    Options of the captioner are written caption.KEY=VALUE.
    """
    from graphrec.commands import encode_dataset_folder

    encode_dataset_folder(
        dataset,
        options or [],
        name=name,
        encoder=encoder,
        content=content,
        caption=caption,
        batch_size=batch_size,
        caption_batch_size=caption_batch_size,
        rows_per_part=rows_per_part,
        workers=workers,
        failures=failures,
        replace=replace,
    )


@app.command()
def features(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder.")],
    name: Annotated[
        str | None, typer.Argument(help="Show one: its spec, coverage, errors and norms.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read and check every byte.")] = False,
    drop: Annotated[str | None, typer.Option(help="Remove the features of this name.")] = None,
    export: Annotated[str | None, typer.Option(help="Export the features of this name.")] = None,
    captions: Annotated[str | None, typer.Option(help="Export the captions of this name.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder (--export) or CSV file (--captions) to write.")
    ] = None,
) -> None:
    """List the features of DATASET; verify, export or drop them."""
    from graphrec.commands import export_feature_folder, show_features, verify_features

    if drop is not None:
        from graphrec.data.feature_folder import drop_features

        drop_features(dataset, drop)
        typer.echo(f"dropped '{drop}'")
    elif export is not None or captions is not None:
        export_feature_folder(dataset, export, captions, out)
    elif verify:
        verify_features(dataset)
    else:
        show_features(dataset, name)


@app.command()
def encoders(
    name: Annotated[str | None, typer.Argument(help="One encoder's options.")] = None,
) -> None:
    """List encoders and presets by modality, or one encoder's options."""
    from graphrec.commands import show_encoder, show_encoders

    show_encoders() if name is None else show_encoder(name)


@data.command()
def sample(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet.")],
    seed: Annotated[int, typer.Option(help="Seed of the catalogue.")] = 0,
) -> None:
    """Write the built-in synthetic catalogue, encoded with the default encoders."""
    from graphrec.commands import show_dataset
    from graphrec.quickstart import make_sample

    make_sample(out, seed=seed)
    show_dataset(out)


@data.command()
def prepare(
    kind: Annotated[str, typer.Argument(help="Raw format: amazon.")],
    reviews: Annotated[list[Path], typer.Option(help="Review files, JSON lines or .gz.")],
    out: Out,
    meta: Annotated[list[Path] | None, typer.Option(help="Metadata files.")] = None,
    rating_min: RatingMin = None,
    k_core: KCore = None,
    split: SplitMethod = None,
    seed: Seed = 0,
    strict: Strict = False,
    encode: Encode = False,
) -> None:
    """Turn raw reviews and metadata into a dataset."""
    from graphrec.commands import prepare_dataset

    prepare_dataset(
        kind,
        reviews,
        meta or [],
        out,
        strict=strict,
        encode=encode,
        **_filters(rating_min, k_core, split, seed),
    )


@data.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Table, or folder in a known format.")],
    out: Out,
    items: Annotated[Path | None, typer.Option(help="Item table.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of <item id>.<ext>.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Name a column, such as user=customer_id.")
    ] = None,
    rating_min: RatingMin = None,
    k_core: KCore = None,
    split: SplitMethod = None,
    seed: Seed = 0,
    strict: Strict = False,
    encode: Encode = False,
    nonfinite: Annotated[
        BadValues, typer.Option(help="What to do with feature rows holding NaN or infinity.")
    ] = BadValues.error,
) -> None:
    """Turn tables, MMRec-style or RecBole folders into a dataset."""
    from graphrec.commands import import_dataset

    import_dataset(
        source,
        items,
        images,
        column or [],
        out,
        strict=strict,
        encode=encode,
        nonfinite=nonfinite.value,
        **_filters(rating_min, k_core, split, seed),
    )


@data.command()
def split(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    out: Out,
    method: Annotated[Method, typer.Option(help="How to split.")],
    seed: Seed = 0,
    folds: Annotated[int | None, typer.Option(min=3, help="Of k-fold; default: 5.")] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Of k-fold: which one is test; default: 0.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(help="Of cold-item, cold-user: how many are cold; default: 0.2."),
    ] = None,
    by: Annotated[
        Order | None,
        typer.Option(help="Of those: which are cold, any (random, the default) or the latest."),
    ] = None,
) -> None:
    """Write the same data under another split; features are shared."""
    from graphrec.commands import show_dataset, split_dataset

    given = {"folds": folds, "fold": fold, "share": share, "by": by and by.value}
    options = {name: value for name, value in given.items() if value is not None}
    split_dataset(dataset, out, method.value, seed, **options)
    show_dataset(out)


@data.command()
def images(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    rate: Annotated[float, typer.Option(min=0.01, help="Most requests per second.")] = 5.0,
) -> None:
    """Download the picture URLs the items list; run again to continue."""
    from graphrec.commands import fetch_images

    fetch_images(dataset, rate)


@data.command()
def show(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
) -> None:
    """Counts, identities, coverage, duplicate features and health of the item graphs."""
    from graphrec.commands import show_dataset

    show_dataset(dataset)


def main() -> None:
    """Run the command line; what the user can mend is one message and a non-zero exit."""
    try:
        app(args=_expand(sys.argv[1:]))
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        _fail(f"{error.strerror or error}: {error.filename or 'while writing'}")
    except (RuntimeError, MemoryError) as error:
        from modalities.chunks import out_of_memory

        if type(error).__module__.startswith("graphrec."):
            _fail(str(error))
        if out_of_memory(error):
            _fail(
                "memory ran out; lower training.batch_size, model.dim or another option that "
                "sizes the model or a step (hidden, negatives, layers), or use less data"
            )
        raise


def _filters(
    rating_min: float | None, k_core: int | None, split: Method | None, seed: int
) -> dict[str, Any]:
    method = split.value if split else None
    return {"rating_min": rating_min, "k_core": k_core, "split": method, "seed": seed}


def _expand(arguments: list[str]) -> list[str]:
    """Let repeated options take several values: `--meta a b` becomes `--meta a --meta b`."""
    expanded: list[str] = []
    option: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in REPEATED else None
            if option is None:
                expanded.append(argument)
            continue
        expanded += [option, argument] if option else [argument]
    return expanded


def _fail(message: str, code: int = 1) -> None:
    typer.echo(f"graphrec: {message}", err=True)
    raise SystemExit(code)
