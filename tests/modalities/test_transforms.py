from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from modalities._base.errors import InputError, UnknownNameError
from modalities.transforms import (
    KINDS,
    Impute,
    Pca,
    Table,
    Transform,
    Whiten,
    concatenate,
    make_transform,
)


@pytest.fixture
def rows() -> NDArray[np.float32]:
    """200 rows of 6 correlated dimensions, far from the origin."""
    random = np.random.default_rng(3)
    mixing = random.normal(size=(6, 6)) * np.array([5, 3, 2, 1, 0.5, 0.2])
    return (random.normal(size=(200, 6)) @ mixing + 7).astype(np.float32)


def run(transform: Transform, values: NDArray[np.float32]) -> NDArray[np.float32]:
    table = Table(values, np.ones(len(values), dtype=np.bool_))
    return np.asarray(transform.apply(transform.fit(values), table).values)


@pytest.mark.parametrize("shape", [(200, 6), (5, 6)])
def test_pca_is_that_of_scikit_learn_with_our_signs(
    rows: NDArray[np.float32], shape: tuple[int, int]
) -> None:
    given = rows[: shape[0]]
    theirs = PCA(3).fit(given.astype(np.float64))
    largest = np.abs(theirs.components_).argmax(axis=1)
    signs = np.sign(theirs.components_[np.arange(3), largest])
    expected = theirs.transform(given.astype(np.float64)) * signs
    np.testing.assert_allclose(run(Pca(3), given), expected, rtol=1e-5, atol=1e-5)
    assert np.all(Pca(3).fit(given)["axes"].max(axis=1) >= -Pca(3).fit(given)["axes"].min(axis=1))


def test_whitened_rows_have_identity_covariance() -> None:
    random = np.random.default_rng(0)
    given = (random.normal(size=(500, 4)) * [2.0, 1.5, 1.0, 0.7] + 3).astype(np.float32)
    white = run(Whiten(), given).astype(np.float64)
    assert abs(white.mean(axis=0)).max() < 1e-5
    np.testing.assert_allclose(white.T @ white / 500, np.eye(4), atol=5e-3)


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.25])
def test_relaxed_whitening_follows_its_equation(rows: NDArray[np.float32], gamma: float) -> None:
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2 / len(rows)
    floor = 1e-3 * variances.mean()
    found = run(Whiten(4, gamma), rows).astype(np.float64)
    expected = np.diag(variances[:4] * (variances[:4] + floor) ** -gamma)
    np.testing.assert_allclose(found.T @ found / len(rows), expected, atol=1e-4)


def test_whitening_by_nothing_is_pca(rows: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(run(Whiten(4, 0.0), rows), run(Pca(4), rows))


def test_whitening_without_a_dimension_keeps_the_rank(rows: NDArray[np.float32]) -> None:
    doubled = np.concatenate([rows, rows[:, :2]], axis=1)
    assert run(Whiten(), doubled).shape == (200, 6)
    assert run(Whiten(), doubled[:4]).shape == (4, 3)


@pytest.mark.parametrize("name", ["pca:7", "whiten:7"])
def test_more_directions_than_the_rank_are_refused(rows: NDArray[np.float32], name: str) -> None:
    doubled = np.concatenate([rows, rows[:, :2]], axis=1)
    with pytest.raises(InputError, match=r"200 rows .* 6 of their 8 dimensions; .* at most 6"):
        make_transform(name).fit(doubled)
    with pytest.raises(InputError, match=r"5 rows .* differ in 4 of their 8"):
        make_transform(name).fit(doubled[:5])
    with pytest.raises(InputError, match=r"7 rows .* differ in 6 of their 7"):
        make_transform(name).fit(np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32))


def test_large_fits_agree_with_small_ones_of_the_same_spread() -> None:
    random = np.random.default_rng(1)
    given = random.normal(size=(9000, 3)) * [3.0, 2.0, 1.0]
    axes = Pca(2).fit(given)["axes"]
    covariance = np.cov(given.T)
    strongest = np.linalg.eigh(covariance)[1][:, ::-1].T[:2]
    np.testing.assert_allclose(abs(axes @ strongest.T), np.eye(2), atol=1e-10)


def test_row_by_row_transforms(rows: NDArray[np.float32]) -> None:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(run(make_transform("l2"), rows), rows / lengths, rtol=1e-6)
    head = rows[:, :2] / np.linalg.norm(rows[:, :2], axis=1, keepdims=True)
    np.testing.assert_allclose(run(make_transform("cut:2"), rows), head, rtol=1e-6)
    centred = rows - rows.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(run(make_transform("center"), rows), centred, atol=1e-5)
    zero = np.zeros((1, 3), dtype=np.float32)
    assert not run(make_transform("l2"), zero).any()
    assert not run(make_transform("cut:2"), zero).any()
    with pytest.raises(InputError, match="'cut:7' cannot cut rows of length 6"):
        run(make_transform("cut:7"), rows)


@pytest.mark.parametrize("name", ["l2", "center", "pca:2", "whiten:2", "cut:2"])
def test_absent_rows_stay_absent_and_zero(rows: NDArray[np.float32], name: str) -> None:
    present = np.arange(200) % 3 > 0
    values = np.where(present[:, None], rows, 0).astype(np.float32)
    transform = make_transform(name)
    state = transform.fit(values[present])
    made = transform.apply(state, Table(values, present))
    assert made.values.dtype == np.float32
    assert not made.values[~present].any()
    np.testing.assert_array_equal(made.present, present)
    alone = transform.apply(state, Table(values[present], np.ones(present.sum(), dtype=np.bool_)))
    np.testing.assert_allclose(made.values[present], alone.values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("how", ["zero", "mean", "neighbours"])
def test_imputed_rows_match_brute_force(how: str) -> None:
    random = np.random.default_rng(5)
    n_users, n_items = 20, 400
    present = random.random(n_items) < 0.3
    values = np.where(present[:, None], random.normal(size=(n_items, 3)), 0).astype(np.float32)
    users, items = random.integers(n_users, size=300), random.integers(n_items - 40, size=300)
    pairs = np.repeat(users, 2), np.repeat(items, 2)  # a repeated interaction counts once
    fitted = values[present & (np.arange(n_items) < 350)].astype(np.float64)

    bought = [set(items[users == user].tolist()) for user in range(n_users)]
    expected = values.astype(np.float64)
    for item in np.flatnonzero(~present):
        near = set().union(*(basket for basket in bought if item in basket))
        having = [other for other in near if present[other]]
        nothing = how == "mean" or not having
        guess = fitted.mean(axis=0) if nothing else values[having].mean(axis=0, dtype=np.float64)
        expected[item] = 0 if how == "zero" else guess

    impute = Impute(how)
    table = Table(values, present, pairs)
    made = impute.apply(impute.fit(fitted), table)
    assert made.present.all()
    np.testing.assert_allclose(made.values, expected, atol=1e-6)
    np.testing.assert_array_equal(made.values[present], values[present])
    assert not table.values[~present].any(), "the table given is left as it was"


def test_neighbours_need_interactions() -> None:
    impute, values = Impute("neighbours"), np.ones((2, 1), dtype=np.float32)
    table = Table(values, np.array([True, False]))
    with pytest.raises(InputError, match="needs training interactions"):
        impute.apply(impute.fit(values), table)
    nobody = np.zeros(0, dtype=np.int64)
    none = Table(values, table.present, (nobody, nobody))
    assert impute.apply(impute.fit(values), none).values.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("name", ["center", "pca:1", "whiten", "impute:mean", "impute:neighbours"])
def test_nothing_to_learn_from(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' has no rows to learn from"):
        make_transform(name).fit(np.zeros((0, 3), dtype=np.float32))


def test_equal_rows_have_no_directions() -> None:
    with pytest.raises(InputError, match="differ in 0 of their 3"):
        Whiten().fit(np.ones((9, 3), dtype=np.float32))


def test_concatenation_keeps_what_is_there() -> None:
    first = Table(np.array([[1.0], [2.0], [0.0]]), np.array([True, True, False]))
    second = Table(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]), np.array([True, False, False]))
    made = concatenate([first, second])
    assert made.values.tolist() == [[1.0, 3.0, 4.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert made.present.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "name",
    ["l2", "center", "pca:8", "whiten", "whiten:8", "whiten:8:0.5", "whiten::0.5", "cut:8"]
    + [f"impute:{how}" for how in ("zero", "mean", "neighbours")],
)
def test_names_are_read_back(name: str) -> None:
    assert make_transform(name).name == name
    assert name.partition(":")[0] in KINDS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("centre", "unknown transform 'centre'; did you mean 'center'"),
        ("pca", "'pca' is not of the form pca:D"),
        ("pca:many", "'pca:many' is not of the form pca:D"),
        ("pca:2:3", "not of the form pca:D"),
        ("pca:0", "at least 1 dimension, got 0"),
        ("l2:3", "not of the form l2"),
        ("whiten:8:2", "between 0 and 1, got 2"),
        ("whiten:8:nan", "between 0 and 1"),
        ("whiten:8:1:1", r"not of the form whiten\[:D\[:GAMMA\]\]"),
        ("cut:-1", "at least 1 dimension"),
        ("impute", r"not of the form impute:zero\|mean\|neighbours"),
        ("impute:neighbors", "unknown imputation 'neighbors'; did you mean 'neighbours'"),
    ],
)
def test_malformed_transforms(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_transform(text)
    if "unknown" in message:
        with pytest.raises(UnknownNameError):
            make_transform(text)
