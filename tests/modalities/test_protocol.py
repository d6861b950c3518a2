from __future__ import annotations

import subprocess
import sys

import pytest

import modalities
from modalities import Encoder, EncoderSpec, PictureDescriptor, TfidfSvd
from modalities._base.errors import InputError


def test_a_spec_is_its_options_in_any_order() -> None:
    one, two = EncoderSpec.of("x", a=1, b="c"), EncoderSpec.of("x", b="c", a=1)
    assert one == two
    assert hash(one) == hash(two)
    assert one.digest == two.digest
    assert one.to_dict() == {"encoder": "x", "a": 1, "b": "c"}
    assert EncoderSpec.from_dict(one.to_dict()) == one


def test_every_option_changes_the_digest() -> None:
    specs = [
        EncoderSpec.of("x"),
        EncoderSpec.of("y"),
        EncoderSpec.of("x", a=1),
        EncoderSpec.of("x", a="1"),
        EncoderSpec.of("x", a=2),
        EncoderSpec.of("x", b=1),
    ]
    assert len({spec.digest for spec in specs}) == len(specs)


def test_a_spec_without_a_name() -> None:
    with pytest.raises(InputError, match="needs the key 'encoder'"):
        EncoderSpec.from_dict({"dim": 2})


def test_the_defaults_are_encoders() -> None:
    assert isinstance(PictureDescriptor(), Encoder)
    assert isinstance(TfidfSvd.fit(["red scarf", "blue scarf"], dim=2), Encoder)


def test_every_public_name_exists() -> None:
    for name in modalities.__all__:
        assert getattr(modalities, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = modalities.nothing


def test_importing_is_light() -> None:
    heavy = ("sklearn", "skimage", "PIL", "torch", "scipy", "pandas", "safetensors")
    code = (
        "import sys, modalities\n"
        "from modalities import FeatureStore, TfidfSvd, PictureDescriptor, encode_items\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
