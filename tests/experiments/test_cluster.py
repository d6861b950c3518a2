"""Studies on Ray: a cluster of two machines of one CPU, on this one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from graphrec.evaluation.test_split import openings_of
from graphrec.experiments.cluster import RayEngine
from graphrec.experiments.plan import StudyPlan
from graphrec.experiments.study import Study
from graphrec.serving.run import load_run
from modalities._base.errors import InputError

ray = pytest.importorskip("ray", reason='Ray is not installed; pip install "graphrec[ray]"')
pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def plan(data: Path, **given: Any) -> StudyPlan:
    training = {"epochs": 60, "eval_every": 10}
    return StudyPlan.parse(
        {
            "name": "small",
            "data": str(data),
            "base": {"model": {"k": 3, "dim": 4}, "training": training},
            "axes": {"model": ["freedom", "lirdrec"]},
            "metrics": ["recall@5"],
            "seeds": [0, 1, 2],
            **given,
        }
    )


def log(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["what"] == "run"]


def test_a_cluster_does_what_this_machine_does(address: str, data: Path, tmp_path: Path) -> None:
    here = Study(plan(data), tmp_path / "here").run(threads=1)
    there = Study(plan(data), tmp_path / "there").run(engine=RayEngine(address))
    assert not there.failed
    assert len(there.finished) == len(here.finished) == 6
    for mine, its in zip(here.finished, there.finished):
        assert mine.name == its.name
        assert load_run(mine).metrics == load_run(its).metrics
        assert len(openings_of(its / "test_access.json")) == 1
    assert len({line["node"] for line in log(tmp_path / "there")}) == 2  # both took part
    assert there.counts["graphs read"] >= 1
    again = Study(plan(data), tmp_path / "there").run(engine=RayEngine(address))
    assert again == there


def test_a_failed_run_and_a_killed_one_do_not_stop_the_others(
    address: str, data: Path, tmp_path: Path
) -> None:
    training = {"epochs": 800, "eval_every": 400, "checkpoint_every": 5}
    study = Study(
        plan(
            data,
            base={"model": {"name": "freedom", "dim": 4}, "training": training},
            axes={"model.k": [31, 3]},
            seeds=[0, 1],
        ),
        tmp_path / "out",
    )
    killer = Thread(target=kill_worker_of, args=[tmp_path / "out"], daemon=True)
    killer.start()
    result = study.run(engine=RayEngine(address), workers=1)
    reasons = list(result.failed.values())
    assert len(result.finished) == 1
    assert sum("catalogue has 30 items" in reason for reason in reasons) == 2
    assert sum("died unexpectedly" in reason for reason in reasons) == 1
    assert all("\n" not in reason for reason in reasons)

    again = study.run(threads=1)  # the killed one goes on from its checkpoint, on any engine
    assert len(again.finished) == 2
    assert len(again.failed) == 2


def kill_worker_of(out: Path) -> None:
    """Kill Ray's process that trains a run of this folder, once it has written a checkpoint."""
    import psutil

    while not list(out.glob("runs/*/last/state.json")):
        time.sleep(0.05)
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [""])[0].startswith("ray::") and any(
            Path(file.path).is_relative_to(out) for file in process.open_files()
        ):
            process.kill()


def test_what_can_never_run_is_refused(address: str, data: Path, tmp_path: Path) -> None:
    engine = RayEngine(address)
    with pytest.raises(InputError, match=r"no machine .* has the 3 CPUs .* theirs are: 1, 0; 1, 0"):
        Study(plan(data), tmp_path / "cpus").run(engine=engine, threads=3)
    cuda = plan(data, base={"training": {"device": "cuda"}}, axes={"model": ["bpr"]})
    with pytest.raises(InputError, match="and 1 GPUs that 'bpr' takes"):
        Study(cuda, tmp_path / "gpus").run(engine=engine)
    assert not ray.is_initialized()


def test_an_address_where_nobody_answers(data: Path, tmp_path: Path) -> None:
    for address in ("127.0.0.1:9", "nowhere"):
        began = time.monotonic()
        with pytest.raises(InputError, match=f"cannot join the Ray cluster at '{address}'"):
            Study(plan(data), tmp_path / "out").run(engine=RayEngine(address))
        assert time.monotonic() - began < 30
