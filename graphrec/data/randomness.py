"""Random generators derived from (seed, name, counters): independent streams, no shared state."""

from __future__ import annotations

import torch

from modalities._base.identity import digest


def derived_seed(seed: int, name: str, *counters: int) -> int:
    """A 63-bit seed for the stream `name` at `counters`, such as an epoch number.

    Example:
        >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1)
        True
        >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 2)
        False
    """
    return int(digest([seed, name, *counters])[:16], 16) >> 1


def generator(
    seed: int, name: str, *counters: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on `device` for the stream `name`.

    Because the state depends on nothing but the arguments, an epoch can be replayed alone.
    """
    return torch.Generator(device=device).manual_seed(derived_seed(seed, name, *counters))
