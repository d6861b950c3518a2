from __future__ import annotations

import pytest
import torch

from graphrec.nn.similarity import chosen_scores


@pytest.mark.parametrize("rows", [1, 130])
def test_scores_of_chosen_rows_and_their_gradients(rows: int) -> None:
    torch.manual_seed(0)
    left = torch.randn(rows, 3, requires_grad=True)
    table = torch.randn(7, 3, requires_grad=True)
    places = torch.randint(0, 5, (rows, 4))  # rows 5 and 6 are nobody's choice
    scores = chosen_scores(left, table, places)
    expected = (left.unsqueeze(1) * table[places]).sum(-1)
    torch.testing.assert_close(scores, expected)
    weight = torch.randn(rows, 4)
    got = torch.autograd.grad((scores * weight).sum(), (left, table))
    wanted = torch.autograd.grad((expected * weight).sum(), (left, table))
    torch.testing.assert_close(got, wanted)
