"""One picture from one address, with limits on rate, size, time and content."""

from __future__ import annotations

import contextlib
import http.client
import io
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from graphrec._version import __version__
from modalities._base.errors import InputError

FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}
"""The kinds of pictures kept, and their suffixes."""

_PIECE = 65536
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_PLAIN_BYTES = ("", "application/octet-stream", "binary/octet-stream")
_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Args:
        rate: requests per second, at most.
        timeout: seconds to wait for the server to say something; a whole picture may take ten
            times as long.
        max_bytes: size of a picture file.
        max_pixels: width times height.
        retries: further attempts after a failure that may pass (no answer, server busy).
        backoff: seconds before the first retry; each later one waits twice as long, or as long
            as the server asks for, up to a minute.
        hosts: the only host names to ask; None for any.

    Raises:
        InputError: a value is out of range.
    """

    rate: float = 5.0
    timeout: float = 20.0
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    retries: int = 2
    backoff: float = 1.0
    hosts: Collection[str] | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "timeout", "max_bytes", "max_pixels"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.retries < 0 or self.backoff < 0:
            raise InputError("retries and backoff must be 0 or more")


class Refused(Exception):
    """An address gave no picture.

    Args:
        reason: why, in a few words.
        passing: it may be gone next time.
        wait: seconds the server asks to wait.
    """

    def __init__(self, reason: str, *, passing: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.passing = passing
        self.wait = wait


class Fetcher:
    """Fetches pictures one at a time, never faster than the rate allows."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._opener = urllib.request.build_opener(_Redirects(limits))
        self._next = 0.0

    def fetch(self, url: str) -> tuple[bytes, str]:
        """The bytes of the picture at `url`, and the suffix for its format.

        Raises:
            Refused: it cannot be had, or is no acceptable picture.
        """
        address = urllib.parse.quote(url.strip(), safe=_URL_SAFE)
        _check_address(address, self.limits)
        for attempt in range(self.limits.retries + 1):
            self._keep_pace()
            try:
                data = self._request(address)
                return data, picture_suffix(data, self.limits.max_pixels)
            except Refused as refusal:
                if not refusal.passing or attempt == self.limits.retries:
                    raise
                time.sleep(max(refusal.wait, self.limits.backoff * 2**attempt))
        raise AssertionError("unreachable")

    def _keep_pace(self) -> None:
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        self._next = max(now, self._next) + 1 / self.limits.rate

    def _request(self, address: str) -> bytes:
        headers = {"User-Agent": f"graphrec/{__version__}", "Accept": "image/*"}
        try:
            request = urllib.request.Request(address, headers=headers)
            with self._opener.open(request, timeout=self.limits.timeout) as response:
                return self._body(response)
        except urllib.error.HTTPError as error:
            with error:
                busy = error.code in _BUSY
                wait = _retry_after(error.headers.get("Retry-After"))
            raise Refused(f"HTTP {error.code}", passing=busy, wait=wait) from None
        except (http.client.InvalidURL, ValueError) as error:
            raise Refused(f"not an address: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"no answer: {error}", passing=True) from None

    def _body(self, response: Any) -> bytes:
        limit = self.limits.max_bytes
        kind = (response.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if not kind.startswith("image/") and kind not in _PLAIN_BYTES:
            raise Refused(f"not a picture: the server sends {kind}")
        announced = response.headers.get("Content-Length", "")
        length = int(announced) if announced.isdigit() else None
        too_large = Refused(f"too large: more than {limit:,} bytes")
        if length is not None and length > limit:
            raise too_large
        deadline = time.monotonic() + 10 * self.limits.timeout
        data = bytearray()
        while piece := response.read1(_PIECE):
            data += piece
            if len(data) > limit:
                raise too_large
            if time.monotonic() > deadline:
                raise Refused("too slow", passing=True)
        if length is not None and len(data) < length:
            raise Refused("cut short", passing=True)
        return bytes(data)


def picture_suffix(data: bytes, max_pixels: int) -> str:
    """The suffix for a picture's format; the picture is decoded to its end.

    Raises:
        Refused: it is no picture of a known format, is damaged, or has too many pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=list(FORMATS)) as picture:
                if picture.width * picture.height > max_pixels:
                    raise Refused(f"too large: {picture.width} x {picture.height} pixels")
                picture.load()
                return FORMATS[str(picture.format)]
    except Refused:
        raise
    except Image.DecompressionBombError:
        raise Refused("too large: too many pixels") from None
    except Exception as error:
        raise Refused(f"not a picture: {type(error).__name__}") from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl, self.limits)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(address: str, limits: Limits) -> None:
    try:
        parts = urllib.parse.urlsplit(address)
        host = parts.hostname
    except ValueError as error:
        raise Refused(f"not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Refused(f"not an http address: {parts.scheme or 'no scheme'}")
    if limits.hosts is not None and host not in {h.lower() for h in limits.hosts}:
        raise Refused(f"host not allowed: {host}")


def _retry_after(value: str | None) -> float:
    with contextlib.suppress(TypeError, ValueError):
        return min(max(float(value or 0), 0.0), _LONGEST_WAIT)
    return 0.0
