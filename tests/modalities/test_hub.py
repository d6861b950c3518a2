from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from modalities._base.errors import InputError
from modalities.hub import check_weights, fetch, library_versions, weights_digest

COMMIT = "0123456789" * 4
ASK = """
import json, sys
from modalities._base.errors import InputError
from modalities.hub import fetch

answers = []
for name, revision in json.loads(sys.argv[1]):
    try:
        answers.append(str(fetch(name, revision)))
    except InputError as error:
        answers.append(f"refused: {error}")
print(json.dumps(answers))
"""


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[str]:
    """A hub on this machine that has `some/model` and keeps `some/gated` behind a licence."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition(f"/some/model/resolve/{COMMIT}/")[2]
            if path.startswith("/api/models/some/model/revision/"):
                siblings = [{"rfilename": file} for file in files]
                value = {"id": "some/model", "sha": COMMIT, "siblings": siblings}
                self.reply(200, json.dumps(value).encode())
            elif path.startswith("/api/models/some/model/tree/"):
                listed = [
                    {"type": "file", "path": file, "size": len(body), "oid": "0" * 40}
                    for file, body in files.items()
                ]
                self.reply(200, json.dumps(listed).encode())
            elif name in files:
                etag = hashlib.sha256(files[name]).hexdigest()
                self.reply(200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
            elif "some/gated" in path:
                self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"})
            else:
                self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            sent = {"Content-Type": "application/json", **(headers or {})}
            for name, value in {**sent, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def ask(endpoint: str, cache: Path, *names: tuple[str, str | None]) -> list[str]:
    """What `fetch` says in a process of its own, which may reach this hub and no other."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and k[:3] != "HF_"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(names)],
        env={**kept, **settings, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout))


def test_a_model_comes_from_the_hub_once(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"no"}
    with hub(files) as endpoint:
        first, absent, gated = ask(
            endpoint,
            tmp_path,
            ("some/model", COMMIT),
            ("no/model", None),
            ("some/gated", None),
        )
    assert weights_digest(Path(first)) == hashlib.sha256(b"weights").hexdigest()
    assert {file.name for file in Path(first).iterdir()} == {"config.json", "model.safetensors"}
    assert absent.startswith("refused: the hub has no model 'no/model' at main")
    assert "accept its licence at https://huggingface.co/some/gated" in gated
    again, other = ask(endpoint, tmp_path, ("some/model", COMMIT), ("other/model", None))
    assert again == first
    assert "hub cannot be reached" in other
    assert "hf download other/model --local-dir" in other


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert fetch(tmp_path) == tmp_path
    assert fetch(str(tmp_path), "abc") == tmp_path


def test_what_is_neither_folder_nor_id(tmp_path: Path) -> None:
    for name in ("nothing", "a/b/c", "../x", str(tmp_path / "none")):
        with pytest.raises(InputError, match="neither a folder nor the id"):
            fetch(name)


def test_a_name_the_hub_would_not_take() -> None:
    for name in ("a/b..c", "a--b/c", "a/b.git"):
        with pytest.raises(InputError, match="no id of a model on the hub"):
            fetch(name)


def test_out_of_reach_says_how_to_work_offline() -> None:
    with pytest.raises(InputError, match=r"hf download a/b --revision 123 --local-dir"):
        fetch("a/b", "123")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedRepoError", "accept its licence at https://huggingface.co/a/b"),
        ("RepositoryNotFoundError", "has no model 'a/b'"),
        ("RevisionNotFoundError", "has no model 'a/b' at 123"),
        ("HfHubHTTPError", "cannot be reached"),
    ],
)
def test_what_the_hub_may_answer(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    import huggingface_hub

    def refuse(*args: Any, **kwargs: Any) -> str:
        kind = getattr(huggingface_hub.errors, name)
        error = kind.__new__(kind)  # what it is made from differs between releases
        error.args = ("no",)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=message):
        fetch("a/b", "123")


def test_errors_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    error = type("ProxyError", (Exception,), {"__module__": "httpx"})("503 Forbidden by proxy")

    def refuse(*args: Any, **kwargs: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(InputError, match=r"cannot be reached \(503 Forbidden by proxy\)"):
        fetch("a/b")
    error = KeyError("a fault of our own")
    with pytest.raises(KeyError):
        fetch("a/b")


def test_the_digest_of_one_file_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weights_digest(tmp_path) == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "model-2.safetensors").write_bytes(b"more")
    assert weights_digest(tmp_path) != hashlib.sha256(b"weights").hexdigest()


def test_the_digest_covers_every_module(tmp_path: Path) -> None:
    """A dense layer after the pooling keeps its weights in a folder of its own."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    dense = tmp_path / "2_Dense" / "model.safetensors"
    dense.parent.mkdir()
    dense.write_bytes(b"one")
    before = weights_digest(tmp_path)
    dense.write_bytes(b"two!")
    assert weights_digest(tmp_path) != before


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights"):
        weights_digest(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickle that can run code"):
        weights_digest(tmp_path)


def test_random_weights_are_refused() -> None:
    check_weights({"missing_keys": {"pooler.dense.weight"}, "mismatched_keys": set()}, "m")
    with pytest.raises(InputError, match=r"lacks 1 of its weights \(layer.0.weight\)"):
        check_weights({"missing_keys": {"layer.0.weight"}}, "m")
    with pytest.raises(InputError, match="lacks 1 of its weights"):
        check_weights({"missing_keys": set(), "mismatched_keys": {("w", (1,), (2,))}}, "m")


def test_versions_of_what_is_installed() -> None:
    assert set(library_versions("numpy", "no-such-package")) == {"numpy_version"}
