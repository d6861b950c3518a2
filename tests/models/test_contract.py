"""What every registered model must do, whoever wrote it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from graphrec.data.dataset import Dataset
from graphrec.data.sampling import BatchSampler
from graphrec.models import Recommender, config_class, model_class, model_names, model_options
from graphrec.nn.ranking import SeenItems
from graphrec.training.checkpoint import (
    Progress,
    load_checkpoint,
    restore_model,
    save_checkpoint,
    training_tensors,
)

pytestmark = pytest.mark.parametrize("name", model_names())


def build(name: str, dataset: Dataset, seed: int = 0) -> Recommender:
    torch.manual_seed(seed)
    return model_class(name)(dataset.train)


def fit(model: Recommender, dataset: Dataset, epochs: int = 3) -> Recommender:
    if not model.trainable:
        return model
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    sampler = BatchSampler(dataset.train, model.sampling, 64, seed=0)
    for epoch in range(epochs):
        model.train()
        model.begin_epoch(epoch)
        for batch in sampler.epoch(epoch):
            optimiser.zero_grad()
            torch.stack(list(model.loss(batch).values())).sum().backward()
            optimiser.step()
    return model


def scores(model: Recommender) -> torch.Tensor:
    return model.score(torch.arange(model.n_users)).detach()


def test_same_seed_same_scores(name: str, small_dataset: Dataset) -> None:
    first, second = (scores(fit(build(name, small_dataset), small_dataset)) for _ in range(2))
    assert torch.equal(first, second)


def test_training_changes_a_trainable_model_only(name: str, small_dataset: Dataset) -> None:
    model = build(name, small_dataset)
    before = scores(model)
    after = scores(fit(model, small_dataset))
    assert torch.equal(before, after) == (not model.trainable)


def test_scoring_is_deterministic_and_leaves_the_mode_alone(
    name: str, small_dataset: Dataset
) -> None:
    model = fit(build(name, small_dataset), small_dataset)
    model.train()
    assert torch.equal(scores(model), scores(model))
    assert model.training


def test_save_and_load(name: str, small_dataset: Dataset, tmp_path: Path) -> None:
    model = fit(build(name, small_dataset), small_dataset)
    save_checkpoint(tmp_path, Progress(epoch=1), training_tensors(model, None))
    other = build(name, small_dataset, seed=5)
    restore_model(other, load_checkpoint(tmp_path)[1])
    assert torch.equal(scores(model), scores(other))


def test_configuration_round_trip(name: str, small_dataset: Dataset) -> None:
    model = model_class(name)
    settings = config_class(model)
    config = settings()
    assert settings(**config.model_dump(mode="json")) == config
    defaults = {
        p.name: p.default
        for p in inspect.signature(model.__init__).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    assert config.model_dump() == defaults
    for option in model_options(model):
        assert option.help, f"{name}.{option.name} is not documented"
    torch.manual_seed(0)
    rebuilt = model(small_dataset.train, **config.model_dump())
    assert torch.equal(scores(rebuilt), scores(build(name, small_dataset)))


def test_seen_items_are_excluded(name: str, small_dataset: Dataset) -> None:
    model = fit(build(name, small_dataset), small_dataset)
    train = small_dataset.train
    seen = SeenItems.from_pairs(train.users.numpy(), train.items.numpy(), train.n_users)
    best = model.topk(torch.arange(train.n_users), train.n_items, seen)
    pairs = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    for user in range(train.n_users):
        listed = [item for item in best.items[user].tolist() if item >= 0]
        assert not any((user, item) in pairs for item in listed)
        assert len(set(listed)) == train.n_items - sum(1 for u, _ in pairs if u == user)


def test_topk_agrees_with_scores(name: str, small_dataset: Dataset) -> None:
    model = fit(build(name, small_dataset), small_dataset)
    every = scores(model)
    best = model.topk(torch.arange(model.n_users), 5)
    expected = every.sort(dim=1, descending=True, stable=True)
    assert torch.equal(best.items, expected.indices[:, :5])
    some = torch.tensor([3, 1])
    torch.testing.assert_close(model.score(torch.arange(model.n_users), some), every[:, some])


def test_embeddings_give_the_scores(name: str, small_dataset: Dataset) -> None:
    model = fit(build(name, small_dataset), small_dataset)
    if not model.factorised:
        with pytest.raises(NotImplementedError, match="has no vectors"):
            model.embeddings()
        return
    vectors = model.embeddings()
    assert not vectors.users.requires_grad
    torch.testing.assert_close(vectors.users @ vectors.items.T, scores(model))


def test_loss_is_finite_named_and_differentiable(name: str, small_dataset: Dataset) -> None:
    model = build(name, small_dataset)
    if not model.trainable:
        return
    model.begin_epoch(0)
    batch = next(BatchSampler(small_dataset.train, model.sampling, 32, seed=0).epoch(0))
    terms = model.loss(batch)
    assert terms
    assert all(isinstance(key, str) and term.dim() == 0 for key, term in terms.items())
    torch.stack(list(terms.values())).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all()
