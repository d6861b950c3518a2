"""The command line as a user meets it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import graphrec.cli
from graphrec.data.dataset import Dataset, build_dataset
from graphrec.data.source import Source

Call = Callable[..., tuple[int, str, str]]
FAST = ["training.epochs=2", "training.batch_size=64", "model.dim=8"]
TRAIN = ["train", "DATA", "--out", "RUN", "--model"]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["graphrec", *map(str, arguments)])
        code = 0
        try:
            graphrec.cli.main()
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def data(small_dataset: Dataset, tmp_path: Path) -> Path:
    small_dataset.save(tmp_path / "data")
    return tmp_path / "data"


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['graphrec', '--help']\n"
        "from graphrec.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'polars', 'sklearn', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("quickstart", "train", "evaluate", "recommend", "export", "models", "data"):
        assert command in done.stdout


def test_train_evaluate_recommend_export(call: Call, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, _ = call(
        "train", data, "--model", "freedom", "--out", run, "--seed", 3, "model.k=3", *FAST
    )
    assert code == 0
    assert "recall" in out
    assert json.loads((run / "manifest.json").read_text())["seed"] == 3
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"valid", "test"} <= metrics.keys()
    code, out, _ = call("evaluate", run, "--split", "valid")
    assert code == 0
    assert f"{metrics['valid']['recall@20']:.4f}" in out
    code, out, _ = call("recommend", run, "--user", "u1", "--user", "u2", "-k", 2)
    assert code == 0
    assert out.count("thing") == 4
    code, out, _ = call("export", run, "--out", tmp_path / "vectors")
    assert code == 0
    assert len(pl.read_parquet(tmp_path / "vectors" / "users.parquet")) == 60


def test_resume_after_a_time_limit(call: Call, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, _ = call(
        "train",
        data,
        "--model",
        "lightgcn",
        "--out",
        run,
        "--no-test",
        "training.max_minutes=1e-9",
        *FAST,
    )
    assert code == 0
    assert "--resume" in out
    code, out, _ = call("train", "--resume", run, "--no-test", "training.max_minutes=null")
    assert code == 0
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert "test" not in json.loads((run / "metrics.json").read_text())
    code, out, _ = call("train", "--resume", run)
    assert code == 0
    assert "finished" in out
    code, _, err = call("train", "--resume", run, "training.lr=1")
    assert code == 1
    assert "cannot change when a run is continued" in err


def test_ctrl_c_says_how_to_go_on(
    call: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphrec.display import TrainingDisplay

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingDisplay, "update", interrupt)
    code, _, err = call("train", data, "--model", "bpr", "--out", tmp_path / "run", *FAST)
    assert code == 130
    assert f"graphrec train --resume {tmp_path / 'run'}" in err.replace("\n", "")
    monkeypatch.undo()


def test_config_file_and_overrides(call: Call, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("model: {name: lightgcn, layers: 1}\ntraining: {epochs: 9}\n")
    code, _, _ = call("train", data, "--config", config, "--out", tmp_path / "run", *FAST)
    assert code == 0
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert "layers: 1" in written
    assert "epochs: 2" in written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "DATA", "--model", "lightgnc", "--out", "RUN"], "did you mean 'lightgcn'"),
        (
            ["train", "DATA", "--model", "bpr", "--out", "RUN", "training.epoch=1"],
            "did you mean 'training.epochs'",
        ),
        (["train", "NOWHERE", "--model", "bpr", "--out", "RUN"], "does not exist"),
        (["train", "DATA", "--out", "RUN"], "no model was chosen"),
        (["train", "DATA", "--model", "bpr"], "--out RUN"),
        (
            ["train", "DATA", "--model", "bpr", "--out", "RUN", "features=[txt]"],
            "did you mean 'text'",
        ),
        (["train", "DATA", "--model", "bpr", "--out", "RUN", "--device", "gpu"], "unknown device"),
        (["train", "DATA", "--model", "lightgcn", "--out", "RUN", "model.layers=-1"], "layers"),
        (["train", "DATA", "--model", "bpr", "--out", "RUN", "model.dim=0"], "model.dim"),
        (["train", "DATA", "--model", "freedom", "--out", "RUN", "model.drop_ratio=1"], "drop_rat"),
        (["train", "DATA", "--model", "bpr", "--out", "RUN", "training.seed=4294967296"], "seed"),
        (["train", "DATA", "--model", "bpr", "--out", "RUN", "training.lr=inf"], "finite number"),
        (["train", "DATA", "--model", "bpr", "--out", "RUN", "features=[text,text]"], "twice"),
        (["train", "--resume", "RUN", "--out", "DATA"], "--out has no meaning with --resume"),
        (
            [*TRAIN, "bpr", "model.dim=100000000000000000000"],
            "model.dim: Input should be less than or equal to 1000000",
        ),
        (
            [*TRAIN, "alpharec", "model.dim=1000000", "model.hidden=1000000"],
            "memory ran out; lower training.batch_size, model.dim or another option",
        ),
        (
            [*TRAIN, "freedom", "features=[]"],
            "FREEDOM needs item features and features.use names none; valid: text",
        ),
        (
            [*TRAIN, "cm3", "model.modality_weights.text=1e-320"],
            "modality weights must be 0 or more, and one above 0 (between 1e-30 and 1e+30)",
        ),
        (
            [*TRAIN, "modular", "model.item_graph=false", "model.item_graph.k=3"],
            "contradict each other",
        ),
        (["train", "DATA", "--model", "bpr", "--out", "DATA"], "already exists"),
        (["train", "--resume", "NOWHERE"], "not a run folder"),
        (["evaluate", "NOWHERE"], "not a run folder"),
        (["recommend", "DATA", "--user", "u1"], "not a graphrec.run manifest"),
        (["models", "freedon"], "did you mean 'freedom'"),
        (["data", "show", "NOWHERE"], "does not exist"),
        (["data", "import", "NOWHERE", "--out", "RUN"], "NOWHERE"),
        (["data", "prepare", "ebay", "--reviews", "x", "--out", "RUN"], "unknown raw format"),
        (["data", "split", "DATA", "--out", "RUN", "--method", "global-time"], "timestamps"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(
    call: Call, data: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    places = {"DATA": str(data), "RUN": str(tmp_path / "new"), "NOWHERE": "NOWHERE"}
    code, _, err = call(*(places.get(argument, argument) for argument in arguments))
    assert code == 1
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


def test_a_run_is_never_overwritten(call: Call, data: Path, tmp_path: Path) -> None:
    arguments = ["train", data, "--model", "popularity", "--out", tmp_path / "run"]
    assert call(*arguments)[0] == 0
    code, _, err = call(*arguments)
    assert code == 1
    assert "already holds a run" in err


def test_models_are_listed_with_their_options(call: Call) -> None:
    code, out, _ = call("models")
    assert code == 0
    for name in ("popularity", "itemknn", "bpr", "lightgcn", "freedom"):
        assert name in out
    code, out, _ = call("models", "freedom")
    assert code == 0
    assert "model.drop_ratio" in out
    assert "2211.06924" in out
    assert "faithful, corrected" in out
    code, out, _ = call("models", "cm3")
    assert "As the published code computes it: model.eval_mix=last" in out
    assert "training.patience=10" in out
    assert "null: images share 0.1" in out
    assert "None" not in out
    code, out, _ = call("models", "modular")
    assert code == 0
    for name in ("mixture", "user_weights", "item_hypergraph", "calibrated_items", "Presets:"):
        assert name in out


def test_show_and_split(call: Call, data: Path, tmp_path: Path) -> None:
    code, out, _ = call("data", "show", data)
    assert code == 0
    for text in ("60", "420", "data_id", "10-NN graph of 'text'", "distinct rows"):
        assert text in out
    code, out, _ = call(
        "data", "split", data, "--out", tmp_path / "loo", "--method", "leave-one-out"
    )
    assert code == 0
    assert "leave-one-out" in out


def test_import_a_table_folder(call: Call, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "images").mkdir(parents=True)
    lines = ["customer,item_id,date"]
    lines += [
        f"{u:03d},{i:03d},2024-01-{1 + (u + i) % 28:02d}"
        for u in range(12)
        for i in range(u % 3, 12, 2)
    ]
    (shop / "interactions.csv").write_text("\n".join(lines) + "\n")
    items = ["item_id,title"] + [f"{i:03d},a {'red' if i % 2 else 'blue'} thing" for i in range(12)]
    (shop / "items.csv").write_text("\n".join(items) + "\n")
    for i in range(11):
        colour = "#c02020" if i % 2 else "#2040c0"
        Image.new("RGB", (40, 30), colour).save(shop / "images" / f"{i:03d}.png")
    code, _, err = call(
        "data",
        "import",
        shop,
        "--out",
        tmp_path / "data",
        "--column",
        "user=customer",
        "--k-core",
        3,
        "--split",
        "user-time",
        "--encode",
    )
    assert code == 0, err
    dataset = Dataset.load(tmp_path / "data")
    assert "000" in dataset.item_ids
    assert dataset.split.spec["method"] == "user-time"
    assert set(dataset.features) == {"image", "text"}
    assert dataset.features["image"].present.sum() == 11
    code, _, err = call(
        "train",
        tmp_path / "data",
        "--model",
        "freedom",
        "--out",
        tmp_path / "run",
        "model.k=3",
        *FAST,
    )
    assert code == 0, err


def test_features_that_are_not_finite_can_be_treated(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "mm"
    folder.mkdir()
    rows = ["userID\titemID\tx_label"]
    rows += [f"{u}\t{i}\t{(u + i) % 3}" for u in range(6) for i in range(6)]
    (folder / "mm.inter").write_text("\n".join(rows) + "\n")
    values = np.ones((6, 3), dtype=np.float32)
    values[2, 1] = np.nan
    np.save(folder / "text_feat.npy", values)
    code, _, err = call("data", "import", folder, "--out", tmp_path / "out")
    assert code == 1
    assert "1 of 6 feature rows hold NaN or infinity" in err
    assert not (tmp_path / "out").exists()
    code, _, err = call("train", folder, "--model", "bpr", "--out", tmp_path / "run", *FAST)
    assert code == 1
    assert "NaN" in err
    code, _, err = call(
        "data", "import", folder, "--out", tmp_path / "out", "--nonfinite", "missing"
    )
    assert code == 0, err
    assert Dataset.load(tmp_path / "out").features["text"].present.tolist() == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]


def test_listed_pictures_are_fetched_and_recorded(call: Call, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "#c02020").save(buffer, "PNG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/a.png"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(buffer.getvalue() if found else b"")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    frame = pl.DataFrame({"user": list("uuuvvv"), "item": list("abcabc")})
    items = pl.DataFrame(
        {"item_id": ["a", "b", "c"], "image_urls": [[f"{address}/a.png"], [f"{address}/b.png"], []]}
    )
    build_dataset(Source("shop", frame, items=items), split="user-random").save(tmp_path / "d")
    try:
        code, out, err = call("data", "images", tmp_path / "d", "--rate", 50)
        assert code == 0, err
        assert "pictures fetched" in out
        code, out, _ = call("data", "images", tmp_path / "d", "--rate", 50)
        assert code == 0
        assert "there already" in out
    finally:
        server.shutdown()
    table = Dataset.load(tmp_path / "d").items
    kept = {row["item_id"]: row["images"] for row in table.iter_rows(named=True)}
    assert Path(kept["a"][0]).read_bytes() == buffer.getvalue()
    assert kept["b"] == kept["c"] == []


def test_encoding_listing_and_dropping(call: Call, data: Path, tmp_path: Path) -> None:
    text = next(n for n, t in Dataset.load(data).items.schema.items() if n == "title")
    arguments = ["encode", data, "--name", "words", "--encoder", "hashing", "dim=16"]
    code, out, err = call(*arguments, "--content", f"{{{text}}}")
    assert (code, err.count("Traceback")) == (0, 0)
    assert "encoded -> 'words' [16]" in out
    code, out, _ = call("features", data)
    assert code == 0
    assert "words" in out
    shown = call("features", data, "words")[1]
    assert "hashing" in shown
    assert "batch_size" in shown
    assert "did you mean 'words'" in call("features", data, "word")[2]
    assert call("features", data, "--verify")[1].splitlines()[-1] == "words: intact"
    run = ["train", data, "--model", "freedom", "features=[words]", "--out", tmp_path / "run"]
    assert call(*run, *FAST)[0] == 0
    assert call("features", data, "--export", "words", "--out", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "words_feat.npy").is_file()
    assert call("features", data, "--drop", "words")[0] == 0
    assert "words" not in call("features", data)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encoder", "hashign"], "did you mean 'hashing'"),
        (["--encoder", "hashing", "dmi=3"], "did you mean 'dim'"),
        (["--encoder", "hashing", "dim"], "KEY=VALUE"),
        (["--encoder", "hashing", "--content", "{titel}"], "did you mean 'title'"),
        (["--encoder", "hashing", "--content", "{title"], "a lone '{'"),
        (["--encoder", "st:a/b"], "hf download a/b"),
        (["--encoder", "st:nowhere"], "neither a folder nor the id"),
        (["--encoder", "open_clip:ViT-B-23/openai"], "unknown open_clip architecture"),
    ],
)
def test_mistakes_in_encoding_are_one_message(
    call: Call, data: Path, arguments: list[str], message: str
) -> None:
    before = sorted(path.name for path in data.iterdir())
    code, _, err = call("encode", data, "--name", "new", *arguments)
    assert code == 1
    assert message in err
    assert "Traceback" not in err
    assert sorted(path.name for path in data.iterdir()) == before


def test_damaged_features_are_a_failure(call: Call, data: Path) -> None:
    call("encode", data, "--name", "words", "--encoder", "hashing", "--content", "{title}")
    part = data / "features" / "words" / "part-000000.safetensors"
    content = bytearray(part.read_bytes())
    content[-60] ^= 1
    part.write_bytes(content)
    code, out, err = call("features", data, "--verify")
    assert code == 1
    assert "was changed after it was written" in out
    assert "redoes the damaged parts only" in err


def test_encoders_are_listed(call: Call) -> None:
    code, out, _ = call("encoders")
    assert code == 0
    for name in ("st:intfloat/e5-base-v2", "open_clip:ViT-B-32/laion2b_s34b_b79k", "mllm:", "file"):
        assert name in out
    assert "unknown" in out
    assert "pooling" in call("encoders", "st")[1]
    assert "passage:" in call("encoders", "intfloat/e5-base-v2")[1]
    assert "did you mean 'hashing'" in call("encoders", "hashign")[2]


@pytest.mark.parametrize("raised", ["polars", "safetensors"])
def test_a_full_disk_is_one_message(
    call: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: str
) -> None:
    from safetensors import SafetensorError

    kind = {"polars": pl.exceptions.ComputeError, "safetensors": SafetensorError}[raised]

    def full(*args: object, **kwargs: object) -> None:
        raise kind("failed to write: No space left on device (os error 28)")

    if raised == "polars":
        monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    else:
        monkeypatch.setattr("graphrec.training.checkpoint.save_file", full)
    code, _, err = call("train", data, "--model", "bpr", "--out", tmp_path / "run", *FAST)
    assert code == 1
    assert "No space left on device" in err
    assert str(tmp_path / "run") in err
    assert "Traceback" not in err


def test_a_run_is_measured_where_its_data_have_moved(
    call: Call, data: Path, tmp_path: Path
) -> None:
    call("train", data, "--model", "popularity", "--out", tmp_path / "run")
    data.rename(tmp_path / "moved")
    code, _, err = call("evaluate", tmp_path / "run")
    assert code == 1
    assert "--data DIR" in err
    assert call("evaluate", tmp_path / "run", "--data", tmp_path / "moved")[0] == 0


def test_a_manifest_that_lacks_something_is_damaged(call: Call, data: Path) -> None:
    manifest = json.loads((data / "manifest.json").read_text())
    del manifest["features"]
    (data / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = call("data", "show", data)
    assert code == 1
    assert "is damaged: features is missing" in err


def test_robustness(call: Call, data: Path, tmp_path: Path) -> None:
    for model in ("freedom", "lightgcn"):
        options = ["model.k=3"] if model == "freedom" else []
        line = ["train", data, "--model", model, "--out", tmp_path / model, *FAST, *options]
        assert call(*line, "data.flip=0.1")[0] == 0
    line = ["robustness", tmp_path / "freedom", "--kind", "missing", "--levels", "0.5", "1"]
    code, out, err = call(*line, "--modality", "text", "--seeds", "2")
    assert code == 0, err
    assert "missing (text), valid" in out
    assert "Means of 2 draws" in out
    recorded = json.loads((tmp_path / "freedom" / "metrics.json").read_text())["valid"]
    assert f"{recorded['recall@20']:.4f}" in out
    code, _, err = call("robustness", tmp_path / "lightgcn", "--kind", "noise")
    assert code == 1
    assert "model 'lightgcn' reads no features" in err
    assert "Traceback" not in err


def test_a_study_whose_first_variant_fails_says_what_gains_are_over(
    call: Call, data: Path, tmp_path: Path
) -> None:
    plan = {
        "name": "edges",
        "seeds": [0],
        "base": {"model": {"name": "freedom", "dim": 8}, "training": {"epochs": 1}},
        "axes": {"model.k": [31, 3, 4]},  # the catalogue has 30 items
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    study = (tmp_path / "plan.yaml", "--data", data, "--out", tmp_path / "out", "--threads", 1)
    code, out, err = call("ablate", *study)
    assert code == 1
    assert "1 of 3 runs failed" in err
    assert "Gains are over model.k=3, since no run of model.k=31 has finished." in out


def test_a_model_in_a_file_of_ones_own(data: Path, tmp_path: Path) -> None:
    """The model of docs/models.md, trained by the workers of a study."""
    docs = Path(__file__).parents[2] / "docs" / "models.md"
    blocks = re.findall(r"```python\n(.*?)```", docs.read_text("utf-8"), re.DOTALL)
    (tmp_path / "directau.py").write_text(next(b for b in blocks if "class DirectAU" in b))
    plan = {
        "name": "own",
        "seeds": [0],
        "base": {"model": {"name": "directau", "dim": 8}, "training": {"epochs": 1}},
        "axes": {"model.layers": [1, 2]},
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))

    def graphrec(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "graphrec", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)

    study = ("ablate", "plan.yaml", "--data", data, "--out", "out", "--threads", 1)
    unknown = graphrec(*study)
    assert unknown.returncode == 1
    assert "unknown model 'directau'" in unknown.stderr
    assert "graphrec --plugin FILE" in unknown.stderr
    done = graphrec("--plugin", "directau.py", *study)
    assert done.returncode == 0, done.stderr
    assert "model.layers=2" in done.stdout
    (run, _) = sorted((tmp_path / "out").rglob("manifest.json"))
    shown = graphrec("--plugin", "directau.py", "recommend", run.parent, "--user", "u1")
    assert shown.returncode == 0, shown.stderr
    version = graphrec("--version")
    assert (version.returncode, version.stdout.count(".")) == (0, 2)
    broken = graphrec("--plugin", "direct.py", "models")
    assert broken.returncode == 1
    assert "direct.py': the file does not exist" in broken.stderr
    assert "Traceback" not in broken.stderr
