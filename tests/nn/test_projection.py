from __future__ import annotations

import torch

from graphrec.data.train_view import Features
from graphrec.nn import FeatureProjection


def test_missing_rows_are_zero_without_bias() -> None:
    values = torch.randn(3, 4)
    present = torch.tensor([True, False, True])
    project = FeatureProjection(Features(values, present), 2)
    out = project(torch.tensor([0, 1, 2]))
    expected = values @ project.linear.weight.T + project.linear.bias
    torch.testing.assert_close(out[[0, 2]], expected[[0, 2]])
    assert torch.equal(out[1], torch.zeros(2))


def test_the_given_features_are_never_changed() -> None:
    values = torch.randn(3, 4)
    before = values.clone()
    project = FeatureProjection(Features(values, torch.ones(3, dtype=torch.bool)), 2)
    optimiser = torch.optim.SGD(project.parameters(), lr=1.0)
    project(torch.tensor([0, 1])).sum().backward()
    optimiser.step()
    assert not torch.equal(project.table.detach(), before)
    assert torch.equal(values, before)


def test_frozen_features_are_no_parameter() -> None:
    features = Features(torch.randn(3, 4), torch.ones(3, dtype=torch.bool))
    names = [name for name, _ in FeatureProjection(features, 2, freeze=True).named_parameters()]
    assert names == ["linear.weight", "linear.bias"]
