from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from graphrec.data.train_view import Features
from graphrec.nn.fusion import (
    ProgressiveWeightCopying,
    SphericalMixture,
    StreamAttention,
    UserWeights,
    WeightedSum,
    slerp,
    spherical_bezier,
)
from graphrec.nn.similarity import normalised


def unit(n: int, d: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return normalised(torch.randn(n, d, generator=random, dtype=torch.float64))


def test_interpolation_moves_along_the_arc() -> None:
    a, b = unit(6, 4, 0), unit(6, 4, 1)
    p = torch.linspace(0, 1, 6, dtype=torch.float64)
    got = slerp(a, b, p)
    angle = (a * b).sum(1).acos()
    np.testing.assert_allclose(got.norm(dim=1), 1, atol=1e-12)
    np.testing.assert_allclose((got * a).sum(1).clamp(-1, 1).acos(), p * angle, atol=1e-7)
    np.testing.assert_allclose((got * b).sum(1).clamp(-1, 1).acos(), (1 - p) * angle, atol=1e-7)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-5, 0.9e-3, 1.1e-3, 0.9e-2, 1.1e-2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_and_opposite_rows_are_safe(distance: float, sign: float, p: float) -> None:
    a = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    b = (sign * a.detach() + torch.tensor([[0.0, distance, 0.0]])).requires_grad_()
    out = slerp(normalised(a), normalised(b), torch.tensor([p]))
    torch.testing.assert_close(out.norm(dim=1), torch.ones(1), atol=1e-4, rtol=0)
    out.sum().backward()
    for gradient in (a.grad, b.grad):
        assert gradient is not None
        assert gradient.norm() < 1e5  # at most about 1 / sin^2 of the angle
    if sign > 0:
        torch.testing.assert_close(out.detach(), a.detach(), atol=2e-2, rtol=0)


def test_single_precision_is_enough_near_the_poles() -> None:
    a = unit(50, 8, 0)
    for sign, nudge in ((1, 2e-3), (-1, 2e-2)):
        b = normalised(sign * a + nudge * unit(50, 8, 1))
        p = torch.full((50,), 0.5, dtype=torch.float64)
        exact, rough = a.clone().requires_grad_(), a.float().requires_grad_()
        slerp(exact, b, p).cos().sum().backward()
        slerp(rough, b.float(), p.float()).cos().sum().backward()
        assert exact.grad is not None
        assert rough.grad is not None
        error = (rough.grad - exact.grad).norm() / exact.grad.norm()
        assert error < 1e-3


def test_gradients_match_finite_differences() -> None:
    a, b, c = (unit(4, 3, seed).requires_grad_() for seed in range(3))
    p = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: slerp(x, y, p), (a, b))
    assert torch.autograd.gradcheck(lambda *x: spherical_bezier(x, p), (a, b, c))


def test_near_the_ends_of_the_arc_gradients_hold() -> None:
    a = unit(1, 3, 0)
    for nudge, sign in ((1e-2, 1), (1e-2, -1)):
        b = normalised(sign * a + nudge * unit(1, 3, 5)).requires_grad_()
        start = a.clone().requires_grad_()
        p = torch.tensor([0.4], dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x, y, p=p: slerp(x, y, p), (start, b), atol=1e-3)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_between_two_rows_of_zeros_lies_zero(p: float) -> None:
    nothing = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    place = torch.tensor([p], dtype=torch.float64)
    made = spherical_bezier([nothing] * 3, place)
    assert not made.any()
    made.sum().backward()
    assert nothing.grad is not None
    assert torch.isfinite(nothing.grad).all()


def test_nested_interpolation() -> None:
    a, b, c = unit(5, 3, 0), unit(5, 3, 1), unit(5, 3, 2)
    p = torch.full((5,), 0.25, dtype=torch.float64)
    expected = slerp(slerp(a, b, p), slerp(b, c, p), p)
    torch.testing.assert_close(spherical_bezier([a, b, c], p), expected)
    torch.testing.assert_close(spherical_bezier([a], p), a)
    ends = torch.tensor([0.0] * 5, dtype=torch.float64)
    torch.testing.assert_close(spherical_bezier([a, b, c], ends), a)
    torch.testing.assert_close(spherical_bezier([a, b, c], ends + 1), c)


def test_streams_are_added_by_learnt_weights() -> None:
    fusion = WeightedSum(2).double()
    fusion.weight.data = torch.tensor([0.0, 1.0]).double()
    blocks = [torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, -1.0]]).double()]
    share = 1 / (1 + np.e)
    expected = share * blocks[0] + (1 - share) * blocks[1]
    torch.testing.assert_close(fusion(blocks), expected, rtol=1e-6, atol=0)


def test_attention_weighs_each_row_by_its_own_vectors() -> None:
    torch.manual_seed(0)
    fusion = StreamAttention(3).double()
    blocks = [torch.randn(4, 3).double() for _ in range(3)]
    w, b = (p.detach().numpy() for p in (fusion.key.weight, fusion.key.bias))
    q = fusion.query.weight.detach().numpy()[0]
    scores = np.stack([np.tanh(x.numpy() @ w.T + b) @ q for x in blocks], 1)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = sum(weights[:, [m]] * x.numpy() for m, x in enumerate(blocks))
    np.testing.assert_allclose(fusion(blocks).detach(), expected, rtol=1e-7)


def test_user_weights_multiply_blocks_side_by_side() -> None:
    fusion = UserWeights(2, 2).double()
    fusion.table.data = torch.tensor([[0.0, 0.0], [0.0, 1.0]]).double()
    blocks = [torch.ones(2, 2).double(), 2 * torch.ones(2, 2).double()]
    share = np.e / (1 + np.e)
    expected = [[0.5, 0.5, 1, 1], [1 - share, 1 - share, 2 * share, 2 * share]]
    np.testing.assert_allclose(fusion(blocks).detach(), expected, rtol=1e-7)


@pytest.mark.parametrize(
    "fusion",
    [WeightedSum(2), StreamAttention(3), UserWeights(4, 2), ProgressiveWeightCopying(4, 2, 3)],
    ids=lambda f: type(f).__name__,
)
def test_gradients_of_fusions_by_finite_differences(fusion: torch.nn.Module) -> None:
    torch.manual_seed(0)
    fusion = fusion.double()
    parameters = tuple(fusion.parameters())
    one, two = (torch.randn(4, 3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda a, b, *_: fusion([a, b]), (one, two, *parameters), atol=1e-6
    )


def test_a_sampled_place_is_the_same_at_every_evaluation() -> None:
    mixture = SphericalMixture([Features.from_tensor(torch.eye(3))] * 2, 4, 0.5)
    before = torch.get_rng_state()
    first, second = mixture.place("sample"), mixture.place("sample")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second)
    assert not torch.equal(first, mixture.place("sample", seed=1))
    assert torch.equal(mixture.place("mean"), torch.full((3,), 0.5))
    drawn = mixture.draw()
    assert torch.equal(mixture.place("last"), drawn)
