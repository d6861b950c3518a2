from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from graphrec.nn.contrast import (
    alignment,
    calibrated_uniformity,
    node_contrast,
    sampled_softmax,
    uniformity,
)
from graphrec.nn.losses import bpr_loss
from graphrec.nn.similarity import normalised


def rows(n: int, d: int, seed: int, *, unit: bool = False) -> Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (normalised(x) if unit else x).requires_grad_()


def gradients(loss: Callable[..., Tensor], *given: Tensor) -> list[Tensor]:
    copies = [x.detach().clone().requires_grad_() for x in given]
    value = loss(*copies)
    return [value.detach(), *torch.autograd.grad(value, copies)]


def agree(one: Callable[..., Tensor], other: Callable[..., Tensor], *given: Tensor) -> None:
    for mine, theirs in zip(gradients(one, *given), gradients(other, *given)):
        torch.testing.assert_close(mine, theirs)


def test_sampled_softmax_by_hand() -> None:
    good, bad = np.array([0.3, -0.2]), np.array([[0.1, 0.4], [0.0, -0.5]])
    expected = -np.log(np.exp(good / 0.2) / (np.exp(good / 0.2) + np.exp(bad / 0.2).sum(1)))
    got = sampled_softmax(torch.from_numpy(good), torch.from_numpy(bad), 0.2)
    assert got.item() == pytest.approx(expected.mean())


def test_sampled_softmax_of_one_negative_is_bpr() -> None:
    good, bad = torch.randn(6), torch.randn(6, 1)
    torch.testing.assert_close(sampled_softmax(good, bad), bpr_loss(good, bad))


def test_sampled_softmax_survives_large_scores() -> None:
    assert sampled_softmax(torch.tensor([1e4]), torch.tensor([[-1e4]]), 0.1).item() == 0


def test_alignment_by_hand() -> None:
    x, y = rows(5, 3, 0).detach().numpy(), rows(5, 3, 1).detach().numpy()
    expected = ((x - y) ** 2).sum(1).mean()
    assert alignment(torch.from_numpy(x), torch.from_numpy(y)).item() == pytest.approx(expected)


def pairwise_uniformity(x: Tensor) -> Tensor:
    return torch.pdist(x).square().mul(-2).exp().mean().log()


@pytest.mark.parametrize("unit", [True, False])
def test_uniformity_is_that_of_all_pairs(unit: bool) -> None:
    agree(uniformity, pairwise_uniformity, rows(9, 4, 0, unit=unit))


def test_uniformity_counts_repeated_rows() -> None:
    x = rows(4, 3, 0, unit=True).detach()
    twice = torch.cat([x, x[:1]])
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    values = [torch.exp(-2 * (twice[i] - twice[j]).square().sum()).item() for i, j in pairs]
    assert uniformity(twice).item() == pytest.approx(float(np.log(np.mean(values))))


def pairwise_calibrated(x: Tensor, content: Tensor) -> Tensor:
    first, second = torch.triu_indices(len(x), len(x), 1)
    similar = (content[first] * content[second]).sum(1).clamp(0.1, 0.6)
    distance = (x[first] - x[second]).square().sum(1)
    return (-2 * (distance - 2 + 2 * similar)).exp().mean().log()


def test_calibrated_uniformity_is_that_of_all_pairs() -> None:
    def ours(x: Tensor, content: Tensor) -> Tensor:
        return calibrated_uniformity(x, content, low=0.1, high=0.6)

    x, content = rows(9, 4, 0, unit=True), rows(9, 5, 1, unit=True)
    assert ((content @ content.T) > 0.6).sum() > 9
    agree(ours, pairwise_calibrated, x, content)


def test_calibration_to_one_is_uniformity() -> None:
    x, content = rows(7, 4, 0, unit=True).detach(), rows(7, 5, 1, unit=True).detach()
    all_alike = calibrated_uniformity(x, content, low=1.0, high=1.0)
    torch.testing.assert_close(all_alike, uniformity(x))


def dense_contrast(first: Tensor, second: Tensor) -> Tensor:
    a, b = normalised(first), normalised(second)
    within, across = (a @ a.T / 0.4).exp(), (a @ b.T / 0.4).exp()
    below = within.sum(1) + across.sum(1) - within.diagonal()
    return -(across.diagonal() / below).log().mean()


@pytest.mark.parametrize("block", [1, 4, 7, 11, 50])
def test_node_contrast_is_the_dense_formula(block: int) -> None:
    def ours(first: Tensor, second: Tensor) -> Tensor:
        return node_contrast(first, second, 0.4, block=block)

    agree(ours, dense_contrast, rows(11, 4, 0), rows(11, 4, 1))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: uniformity(x) + 0 * y.sum(),
        alignment,
        lambda x, y: calibrated_uniformity(x, normalised(y), low=-1.0),
        lambda x, y: node_contrast(x, y, 0.3, block=2),
        lambda x, y: node_contrast(x, x + y, 0.3, block=3),
        lambda x, y: sampled_softmax((x * y).sum(1), x @ y.T, 0.5),
    ],
)
def test_gradients_match_finite_differences(loss: Callable[..., Tensor]) -> None:
    assert torch.autograd.gradcheck(loss, (rows(5, 3, 0), rows(5, 3, 1)))


def test_gradients_are_scaled_by_what_follows() -> None:
    x = rows(5, 3, 0)
    (one,) = torch.autograd.grad(node_contrast(x, x * 2 + 1), x)
    (three,) = torch.autograd.grad(3 * node_contrast(x, x * 2 + 1), x)
    torch.testing.assert_close(three, 3 * one)


def test_one_row_has_no_pairs() -> None:
    x = torch.ones(1, 3, requires_grad=True)
    loss = uniformity(x) + calibrated_uniformity(x, torch.ones(1, 3))
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad is not None
    assert not x.grad.any()


def test_sampled_nodes_are_contrasted_among_themselves() -> None:
    a, b = rows(9, 3, 0).detach(), rows(9, 3, 1).detach()
    torch.manual_seed(4)
    chosen = torch.randperm(9)[:5]
    torch.manual_seed(4)
    sampled = node_contrast(a, b, 0.5, nodes=5)
    torch.testing.assert_close(sampled, node_contrast(a[chosen], b[chosen], 0.5))
    assert node_contrast(a, b, nodes=9) == node_contrast(a, b)


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match="views must match"):
        node_contrast(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="content 3"):
        calibrated_uniformity(torch.ones(2, 3), torch.ones(3, 3))


def test_without_gradients_nothing_is_kept() -> None:
    x = rows(6, 3, 0).detach()
    assert not node_contrast(x, x).requires_grad
    assert not uniformity(x).requires_grad
