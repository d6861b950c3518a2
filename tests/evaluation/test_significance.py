from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from graphrec.evaluation.significance import (
    TESTS,
    bootstrap,
    difference,
    effect_size,
    holm,
    mark,
    mean_interval,
    paired_p,
)
from modalities._base.errors import InputError


def test_tests_agree_with_scipy() -> None:
    random = np.random.default_rng(0)
    a, b = random.random(60), random.random(60) + 0.1
    assert paired_p(a - b, "t") == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_p(a - b, "wilcoxon") == pytest.approx(stats.wilcoxon(a, b).pvalue)


def test_random_signs_match_all_signs() -> None:
    gains = np.array([0.5, 0.5, -0.25, 1.0, 0.75, 0.0, 0.25, 0.5])
    sums = [
        abs(sum(s * g for s, g in zip(signs, gains)))
        for signs in itertools.product((1, -1), repeat=8)
    ]
    exact = np.mean(np.array(sums) >= abs(gains.sum()) - 1e-12)
    assert paired_p(gains, "randomisation", resamples=40_000) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("test", TESTS)
def test_no_difference_is_no_finding(test: str) -> None:
    assert paired_p(np.zeros(10), test) == 1.0  # type: ignore[arg-type]


def test_equal_differences_are_certain() -> None:
    assert paired_p(np.full(10, 0.5), "t") == 0.0
    assert effect_size(np.full(10, 0.5)) == np.inf


@pytest.mark.parametrize("test", TESTS)
def test_false_alarms_are_as_rare_as_promised(test: str) -> None:
    random = np.random.default_rng(1)
    trials = 400
    alarms = 0
    for _ in range(trials):
        gains = random.choice([-0.5, -0.25, 0.0, 0.25, 0.5], 80)
        alarms += paired_p(gains, test, resamples=400) < 0.05  # type: ignore[arg-type]
    assert stats.binomtest(alarms, trials, 0.05).pvalue > 0.001


@pytest.mark.parametrize("seeds", [1, 4])
def test_intervals_cover_the_true_difference(seeds: int) -> None:
    """Users with tastes of their own, seeds with luck of their own, and a gain of 0.05."""
    random = np.random.default_rng(2)
    trials, covered = 200, 0
    for trial in range(trials):
        taste = random.normal(0.3, 0.2, 60)
        luck = 0.02 if seeds > 1 else 0.0
        sides = [
            taste + random.normal(0, 0.1, (seeds, 60)) + random.normal(0, luck, (seeds, 1)) + shift
            for shift in (0.05, 0.0)
        ]
        found = difference(*sides, resamples=300, seed=trial)
        covered += found.low <= 0.05 <= found.high
    assert 0.88 <= covered / trials <= 0.99


def test_an_effect_is_found() -> None:
    random = np.random.default_rng(3)
    base = random.random((3, 200))
    found = difference(base + random.normal(0.05, 0.05, (3, 200)), base)
    assert found.low > 0
    assert found.p < 1e-6
    assert found.seeds == (3, 3)
    assert found.over_seeds


def test_a_bootstrap_by_hand() -> None:
    """Distinct users drawn one by one give the same distribution."""
    random = np.random.default_rng(4)
    values = random.choice([0.0, 0.5, 1.0], (2, 40))
    drawn = bootstrap(values, (2,), 4000, seed=0)
    slow = [
        values[random.integers(2, size=2)][:, random.integers(40, size=40)].mean()
        for _ in range(4000)
    ]
    assert drawn.mean() == pytest.approx(np.mean(slow), abs=0.005)
    assert drawn.std() == pytest.approx(np.std(slow), rel=0.08)


def test_one_seed_speaks_of_users_only() -> None:
    assert not difference([0.0, 1.0, 0.5], [[0.0, 0.5, 0.5], [0.1, 0.5, 0.5]]).over_seeds


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_marks() -> None:
    assert [mark(p, 0.1, 0.2) for p in (0.0001, 0.005, 0.02, 0.2)] == ["***", "**", "*", ""]
    assert mark(0.0001, -0.2, -0.1) == "***"
    assert mark(0.0001, -0.1, 0.2) == ""


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_do_not_make_intervals_too_narrow(seeds: int) -> None:
    """Luck of seeds and noise of users, no true gain: the usual bootstrap covers less."""
    random = np.random.default_rng(seeds)
    covered = 0
    for trial in range(150):
        sides = [random.random(60) * 0.01 + random.normal(0, 0.02, (seeds, 1)) for _ in range(2)]
        sides = [side + random.normal(0, 0.05, (seeds, 60)) for side in sides]
        found = difference(*sides, resamples=300, seed=trial)
        covered += found.low <= 0 <= found.high
    assert covered / 150 > {2: 0.85, 3: 0.88}[seeds]


def test_means_have_intervals() -> None:
    values = np.random.default_rng(5).random((3, 500))
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(values.mean())
    assert low < mean < high
    assert high - low < 0.1


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(InputError, match="one side has 2, the other 3"):
        difference([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="finite"):
        difference([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="unknown test 'z'"):
        paired_p([1.0, 2.0], "z")  # type: ignore[arg-type]
