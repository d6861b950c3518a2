"""Downloads from a server on this machine: resumable, limited, everything checked."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graphrec.data.fetching import Limits, Refused, picture_suffix
from graphrec.data.images import FAILURES, download_images, picture_stem
from modalities._base.errors import InputError


def picture(kind: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "image/jpeg"})
    cut: int = 0
    pause: float = 0.0


@dataclass
class Server:
    """Answers by path; a list is worked off, its last answer repeated."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def add(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return f"{self.url}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked[self.path] += 1
            state.times.append(time.monotonic())
            queue = state.answers.get(self.path, [Answer(status=404)])
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            time.sleep(answer.pause)
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body) + answer.cut), **answer.headers}
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join(5)


FAST = Limits(rate=1000, timeout=5, backoff=0.01)


def test_pictures_are_saved_under_safe_names(server: Server, tmp_path: Path) -> None:
    bodies = {kind: picture(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")}
    items = dict(zip(["0001", "a.b", "../../etc/x", "ünï", "k" * 400], bodies, strict=True))
    urls = {item: [server.add(f"/{kind}", Answer(bodies[kind]))] for item, kind in items.items()}
    done = download_images(urls, tmp_path / "new" / "images", limits=FAST)
    assert (done.fetched, done.failed, done.present, done.skipped) == (5, 0, 0, 0)
    folder = (tmp_path / "new" / "images").resolve()
    for item, kind in items.items():
        (file,) = done.pictures[item]
        assert file.parent == folder
        assert file.read_bytes() == bodies[kind]
    assert {file.suffix for file in folder.iterdir()} == {".jpg", ".png", ".webp", ".gif", ".bmp"}
    assert (folder / "0001.jpg").is_file()
    assert len(list(folder.iterdir())) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_second_call_asks_nothing_again(server: Server, tmp_path: Path) -> None:
    urls = {
        "a": [server.add("/a", Answer(picture()))],
        "b": [server.add("/b", Answer(status=404))],
        "c": [server.add("/c", Answer(status=503), Answer(status=503), Answer(picture()))],
    }
    limits = Limits(rate=1000, retries=1, backoff=0)
    first = download_images(urls, tmp_path, limits=limits)
    assert (first.fetched, first.failed) == (1, 2)
    assert first.reasons == {"HTTP 404": 1, "HTTP 503": 1}
    assert server.asked == {"/a": 1, "/b": 1, "/c": 2}
    records = [json.loads(line) for line in (tmp_path / FAILURES).read_text().splitlines()]
    assert {r["item"]: r["passing"] for r in records} == {"b": False, "c": True}
    second = download_images(urls, tmp_path, limits=limits)
    assert (second.fetched, second.present, second.skipped, second.failed) == (1, 1, 1, 0)
    assert set(second.pictures) == {"a", "c"}
    assert server.asked == {"/a": 1, "/b": 1, "/c": 3}
    server.add("/b", Answer(picture()))
    third = download_images(urls, tmp_path, limits=limits, retry_failed=True)
    assert (third.fetched, third.present) == (1, 2)
    assert not (tmp_path / FAILURES).exists()


def test_an_interrupted_download_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {name: [server.add(f"/{name}", Answer(picture()))] for name in "abcd"}
    urls["0"] = [server.add("/0", Answer(status=410))]
    urls = dict(sorted(urls.items()))
    original = Path.write_bytes

    def stop_at_c(path: Path, data: bytes) -> int:
        if path.name.startswith(".c."):
            original(path, data[:10])
            raise KeyboardInterrupt
        return original(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stop_at_c)
        with pytest.raises(KeyboardInterrupt):
            download_images(urls, tmp_path, limits=FAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg", FAILURES]
    with (tmp_path / FAILURES).open("a") as stream:
        stream.write('{"url": "cut o')
    done = download_images(urls, tmp_path, limits=FAST)
    assert (done.fetched, done.present, done.skipped) == (2, 2, 1)
    assert server.asked["/a"] == server.asked["/b"] == server.asked["/0"] == 1


def test_further_addresses_are_tried_and_several_pictures_kept(
    server: Server, tmp_path: Path
) -> None:
    bad = server.add("/bad", Answer(status=404))
    good = [server.add(f"/{n}", Answer(picture("PNG"))) for n in range(3)]
    one = download_images({"a": [bad, *good]}, tmp_path / "one", limits=FAST)
    assert [path.name for path in one.pictures["a"]] == ["a@2.png"]
    assert server.asked == {"/bad": 1, "/0": 1}
    two = download_images({"a": [bad, *good]}, tmp_path / "one", limits=FAST, per_item=2)
    assert [path.name for path in two.pictures["a"]] == ["a@2.png", "a@3.png"]
    assert server.asked == {"/bad": 1, "/0": 1, "/1": 1}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"<html>", headers={"Content-Type": "text/html"}), "not a picture"),
        (Answer(b"<html>"), "not a picture"),
        (Answer(b""), "not a picture"),
        (Answer(picture("JPEG", (64, 64))[:-300]), "not a picture"),
        (Answer(picture("TIFF"), headers={"Content-Type": "image/tiff"}), "not a picture"),
        (Answer(b"<svg/>", headers={"Content-Type": "image/svg+xml"}), "not a picture"),
        (Answer(picture(size=(200, 200))), "too large"),
        (Answer(b"\0" * 60_000), "too large"),
        (Answer(b"\0" * 60_000, headers={"Content-Length": ""}), "too large"),
        (Answer(picture(), cut=50), "cut short"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), "HTTP 302"),
        (Answer(status=302, headers={"Location": "ftp://127.0.0.1/x"}), "not an http address"),
        (Answer(status=403), "HTTP 403"),
        (Answer(picture(), pause=0.6), "no answer"),
    ],
)
def test_what_is_not_kept(server: Server, tmp_path: Path, answer: Answer, reason: str) -> None:
    limits = Limits(rate=1000, timeout=0.3, retries=0, max_bytes=50_000, max_pixels=30_000)
    done = download_images({"a": [server.add("/a", answer)]}, tmp_path, limits=limits)
    assert done.reasons == {reason: 1}
    assert done.pictures == {}
    assert [path.name for path in tmp_path.iterdir()] == [FAILURES]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://e.org/a.jpg",
        "data:image/png;base64,AA",
        "a.jpg",
        "http://[",
        "",
    ],
)
def test_other_addresses_are_never_opened(tmp_path: Path, url: str) -> None:
    done = download_images({"a": [url]}, tmp_path, limits=FAST)
    assert (done.failed, done.fetched) == (1, 0)
    assert set(done.reasons) <= {"not an http address", "not an address"}


def test_plain_bytes_redirects_and_odd_addresses_are_accepted(
    server: Server, tmp_path: Path
) -> None:
    plain = Answer(picture(), headers={"Content-Type": "binary/octet-stream"})
    target = server.add("/a%20b,c.jpg", plain)
    start = server.add("/start", Answer(status=301, headers={"Location": target}))
    done = download_images({"a": [start], "b": [f"{server.url}/a b,c.jpg"]}, tmp_path, limits=FAST)
    assert done.fetched == 2


def test_only_allowed_hosts(server: Server, tmp_path: Path) -> None:
    away = server.add("/away", Answer(status=302, headers={"Location": "http://localhost:1/x"}))
    limits = Limits(rate=1000, hosts=["127.0.0.1"])
    urls = {
        "a": [away],
        "b": ["http://example.invalid/x"],
        "c": [server.add("/c", Answer(picture()))],
    }
    done = download_images(urls, tmp_path, limits=limits)
    assert done.reasons == {"host not allowed": 2}
    assert set(done.pictures) == {"c"}


def test_busy_servers_are_asked_again(server: Server, tmp_path: Path) -> None:
    busy = Answer(status=429, headers={"Retry-After": "0.3"})
    url = server.add("/a", busy, Answer(picture(), cut=9), Answer(picture()))
    done = download_images({"a": [url]}, tmp_path, limits=FAST)
    assert (done.fetched, server.asked["/a"]) == (1, 3)
    assert server.times[1] - server.times[0] >= 0.3


def test_rate_is_kept(server: Server, tmp_path: Path) -> None:
    urls = {str(n): [server.add(f"/{n}", Answer(picture()))] for n in range(6)}
    download_images(urls, tmp_path, limits=Limits(rate=20))
    assert server.times[-1] - server.times[0] >= 5 / 20 - 0.03


def test_stems_are_safe_and_distinct() -> None:
    ids = ["a", "A", "a/b", "a%2Fb", "a b", "..", ".", "", "x" * 200, "x" * 201, "a@2", "日本", "%"]
    stems = [picture_stem(item) for item in ids]
    assert len(set(stems)) == len(ids)
    for stem in stems:
        assert 0 < len(stem.encode()) <= 150
        assert not stem.startswith(".")
        assert set(stem) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.%"
        )


def test_limits_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rate must be above 0, got 0"):
        Limits(rate=0)
    with pytest.raises(InputError, match="retries and backoff"):
        Limits(retries=-1)
    with pytest.raises(InputError, match="per_item must be 1 or more"):
        download_images({}, tmp_path, per_item=0)


def test_a_picture_bomb_is_refused_before_it_is_decoded() -> None:
    header = b"BM" + bytes(12) + (40).to_bytes(4, "little")
    bomb = header + (60_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    with pytest.raises(Refused, match="too large"):
        picture_suffix(bomb, 10**6)
