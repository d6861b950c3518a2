from __future__ import annotations

import builtins
import io
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from modalities.content import (
    MAX_CHARACTERS,
    PICTURE_ERRORS,
    ContentError,
    clean_text,
    neutralise,
    normalise_picture,
    open_picture,
)
from modalities.encoding import encode
from modalities.inputs import Inputs

SPECIAL = [
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|image_pad|>", "<|start|end|>", "< end >"),
    *("<s>", "</s>", "<pad>", "<unk>", "<mask>", "<image>", "<eos>", "<｜end▁of▁sentence｜>"),
    *("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[INST]", "[/INST]", "<<SYS>>", "aa"),
]


def code(path: Path | str) -> str:
    with pytest.raises(ContentError) as caught:
        open_picture(path)
    return caught.value.code


def noise(size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_files_that_are_no_picture(tmp_path: Path) -> None:
    assert code(tmp_path / "none.jpg") == "missing"
    assert code(tmp_path) == "missing"
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert code(tmp_path / "empty.jpg") == "empty"
    (tmp_path / "page.jpg").write_text("<html><body>Not found</body></html>")
    assert code(tmp_path / "page.jpg") == "not-a-picture"
    (tmp_path / "drawing.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert code(tmp_path / "drawing.png") == "not-a-picture"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    noise().save(buffer, kind)
    (tmp_path / "cut").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert code(tmp_path / "cut") == "truncated"


@pytest.mark.filterwarnings("error")
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    for side in (10_000, 30_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
        assert code(tmp_path / "bomb.png") == "too-large"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    noise().convert(mode).save(path)
    picture = open_picture(path)
    assert picture.mode == "RGB"
    assert picture.size == (40, 30)


def test_a_broken_stream_is_damaged_or_truncated(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise().save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    start = data.index(b"IDAT") + 4
    data[start : start + 40] = b"\x00" * 40
    (tmp_path / "x.png").write_bytes(bytes(data))
    assert code(tmp_path / "x.png") == "damaged"


def test_formats_that_start_other_programs_are_no_pictures(tmp_path: Path) -> None:
    noise().save(tmp_path / "x.eps")
    assert code(tmp_path / "x.eps") == "not-a-picture"


def test_any_prefix_of_a_picture_is_an_error_with_a_code(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        noise().save(buffer, kind)
        data = buffer.getvalue()
        for share in (0.02, 0.2, 0.5, 0.8):
            (tmp_path / "cut").write_bytes(data[: max(1, int(share * len(data)))])
            assert code(tmp_path / "cut") in PICTURE_ERRORS


def test_a_path_the_system_refuses(tmp_path: Path) -> None:
    assert code(tmp_path / ("x" * 5000)) == "unreadable"
    assert code("a\0b.jpg") == "unreadable"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.timeout(20)
def test_files_without_an_end_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert code(tmp_path / "pipe") == "empty"
    assert code("/dev/zero") == "empty"


def test_lab_colours(tmp_path: Path) -> None:
    Image.new("LAB", (8, 8), (136, 128, 128)).save(tmp_path / "lab.tif")
    pixel = np.asarray(open_picture(tmp_path / "lab.tif"))[0, 0]
    # L* = 136 / 255 * 100 = 53.3, a grey whose sRGB value is 127.
    np.testing.assert_allclose(pixel, (127, 127, 127), atol=1)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"])
def test_damaged_exif_costs_only_the_rotation(tmp_path: Path, exif: bytes) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "x.jpg", exif=exif)
    assert open_picture(tmp_path / "x.jpg").size == (40, 30)


def test_real_numbers_keep_their_order(tmp_path: Path) -> None:
    for top in (1.0, 255.0, 3000.0):
        ramp = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
        Image.fromarray(ramp).save(tmp_path / "real.tif")
        grey = np.asarray(open_picture(tmp_path / "real.tif"))[:, :, 0]
        np.testing.assert_allclose(grey, np.linspace(0, 255, 64).reshape(8, 8), atol=1)


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "dark.tif")
    assert np.asarray(open_picture(tmp_path / "dark.tif")).max() <= 1


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tif"])
def test_the_first_frame_of_an_animation(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:])
    pixel = np.asarray(open_picture(tmp_path / f"a.{kind}"))[0, 0]
    np.testing.assert_allclose(pixel, (255, 0, 0), atol=3)


def test_a_picture_in_memory() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert normalise_picture(clear).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(ContentError, match="too-large"):
        normalise_picture(clear, max_pixels=15)


@pytest.mark.parametrize(("mode", "half"), [("RGBa", (255, 128, 128)), ("La", (128, 128, 128))])
def test_colours_multiplied_by_alpha(mode: str, half: tuple[int, int, int]) -> None:
    whole = Image.new(mode.upper(), (4, 4), (255, 0, 0, 127) if mode == "RGBa" else (0, 127))
    np.testing.assert_allclose(
        np.asarray(normalise_picture(whole.convert(mode)))[0, 0], half, atol=1
    )


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=0)
    opened = open_picture(tmp_path / "palette.png")
    assert opened.getpixel((0, 0)) == (0, 0, 255)
    assert opened.getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    grey = np.asarray(open_picture(tmp_path / "deep.png"))[:, :, 0]
    np.testing.assert_allclose(grey, ramp / 257, atol=1)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lit = Image.new("RGB", (40, 30), "black")
    lit.paste((255, 255, 255), (0, 0, 40, 10))
    lit.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = open_picture(tmp_path / "turned.jpg")
    assert turned.size == (30, 40)
    grey = np.asarray(turned)[:, :, 0]
    assert grey[:, -5:].min() > 200  # the bright top is on the right after a clockwise turn
    assert grey[:, :5].max() < 50


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a &amp; b", "a & b"),
        ("<p>one</p><br>two", "one two"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("5 < 6 > 3", "5 < 6 > 3"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("  a\n\tb ", "a b"),
        ("<!-- hidden --> shown", "shown"),
        ("a<!-- <b>x</b>\n-->b", "a b"),
        ("open <!-- end", "open <!-- end"),
        ("<!DOCTYPE html>x", "x"),
        ("<!--" * 200_000, "<!--" * 200_000),
        ("<a " * 200_000, ("<a " * 200_000).strip()),
        ("", ""),
        (None, ""),
    ],
)
def test_clean_text(given: str | None, expected: str) -> None:
    assert clean_text(given) == expected[:MAX_CHARACTERS]


def test_a_long_text_is_cut_before_it_is_read() -> None:
    assert len(clean_text("word " * 2_000_000)) == MAX_CHARACTERS - 1


def test_special_tokens_are_broken_up() -> None:
    special = ["<|im_end|>", "[SEP]", "<s>", "</s>", "<image>", "  ", "#"]
    text = "a<|im_end|>b [SEP]<s>x</s> <image> # plain  text"
    found = neutralise(text, special)
    assert not any(mark in found for mark in special if len(mark.strip()) > 1)
    assert found.replace(" ", "") == text.replace(" ", "")
    assert neutralise("nothing here", special) == "nothing here"
    assert "<s>" not in neutralise("<<s>s>", ["<s>"])


def tokenizer() -> Any:
    """Byte-level, knows SPECIAL."""
    tokenizers = pytest.importorskip("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE({letter: place for place, letter in enumerate(letters)}, [])
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(SPECIAL)
    return made


@pytest.mark.parametrize("mark", SPECIAL)
@pytest.mark.parametrize("around", ["{}", "soap{}bar", "a {} b {}{}", "<|{}|>", "{}a"])
def test_no_text_makes_a_tokenizer_see_a_special_token(mark: str, around: str) -> None:
    words = tokenizer()
    ordinary = words.get_vocab_size(with_added_tokens=False)
    text = around.format(mark, mark, mark)
    assert max(words.encode(text).ids) >= ordinary
    safe = neutralise(text, SPECIAL)
    assert max(words.encode(safe).ids) < ordinary
    assert safe.replace(" ", "") == text.replace(" ", "")


def test_tokens_inside_tokens_are_broken_up_too() -> None:
    words = tokenizer()
    ordinary = words.get_vocab_size(with_added_tokens=False)
    rng = np.random.default_rng(0)
    pieces = [*SPECIAL, "<", ">", "|", "[", "]", " ", "a", "/"]
    for _ in range(300):
        text = "".join(rng.choice(pieces, size=8))
        assert max(words.encode(neutralise(text, SPECIAL)).ids) < ordinary


@pytest.mark.parametrize("given", [None, float("nan"), 5, b"bytes", ["a"], ""])
def test_what_is_no_text_is_an_empty_one(given: object) -> None:
    assert clean_text(given) == ""


def test_how_much_of_a_text_counts() -> None:
    assert clean_text("one two three", max_characters=7) == "one two"


def test_addresses_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "a.jpg")
    titles = ["https://example.org/a.jpg", str(tmp_path / "a.jpg"), "data:image/png;base64,iVBOR"]
    touched: list[str] = []

    def watched(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            touched.extend(str(value) for value in args if str(value) in titles)
            return real(*args, **kwargs)

        return call

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    assert [code(title) for title in (titles[0], titles[2])] == ["missing", "missing"]
    for place, name in ((builtins, "open"), (Path, "open"), (Image, "open"), (Path, "stat")):
        monkeypatch.setattr(place, name, watched(getattr(place, name)))
    open_picture(titles[1])
    assert touched  # the watch works
    touched.clear()
    inputs = Inputs.identify(titles, "text")
    assert [inputs.open(row) for row in range(3)] == titles
    assert encode(texts=titles, encoder="hashing", dim=256, progress=False).present.all()
    assert not touched


def test_every_bad_content_is_a_code_and_no_crash(tmp_path: Path) -> None:
    texts: list[Any] = [None, float("nan"), 7, b"x", "", " \n", "<br/>", "\ud800", "fine \udfff"]
    store = encode(texts=texts, encoder="hashing", dim=16, progress=False)
    assert list(store.errors) == ["missing"] * 8 + [None]
    noise().save(tmp_path / "fine.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "tiny.png")
    Image.new("RGB", (8, 900)).save(tmp_path / "thin.png")
    (tmp_path / "page.png").write_text("<html></html>")
    (tmp_path / "cut.png").write_bytes((tmp_path / "fine.png").read_bytes()[:200])
    (tmp_path / "void.png").touch()
    names = ["fine", "tiny", "thin", "page", "cut", "void", "none"]
    pictures: list[Any] = [*(tmp_path / f"{name}.png" for name in names), tmp_path, None, 7]
    store = encode(images=pictures, encoder="pictures", progress=False)
    expected = [None, "too-small", "odd-shape", "not-a-picture", "truncated", "empty"]
    assert list(store.errors) == [*expected, *["missing"] * 4]


@pytest.mark.parametrize(
    ("size", "expected"), [((1, 1), "too-small"), ((3, 90), "too-small"), ((4, 204), "odd-shape")]
)
def test_shapes_that_show_nothing(tmp_path: Path, size: tuple[int, int], expected: str) -> None:
    Image.new("RGB", size).save(tmp_path / "p.png")
    assert code(tmp_path / "p.png") == expected
    assert open_picture(tmp_path / "p.png", min_side=1, max_ratio=51).size == size


def test_the_limits_can_be_stricter(tmp_path: Path) -> None:
    noise((40, 30)).save(tmp_path / "p.png")
    assert open_picture(tmp_path / "p.png", min_side=30, max_ratio=4 / 3).size == (40, 30)
    with pytest.raises(ContentError, match="too-small"):
        open_picture(tmp_path / "p.png", min_side=31)
    with pytest.raises(ContentError, match="odd-shape"):
        open_picture(tmp_path / "p.png", max_ratio=1.3)
    with pytest.raises(ContentError, match="too-large"):
        open_picture(tmp_path / "p.png", max_pixels=1199)
