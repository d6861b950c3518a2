"""Is a difference real? Paired by user: intervals, tests, effect sizes, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modalities._base.errors import InputError, UnknownNameError

Values = NDArray[np.float64]
Test = Literal["t", "wilcoxon", "randomisation"]
TESTS = ("t", "wilcoxon", "randomisation")

_BLOCK = 2**22


@dataclass(frozen=True)
class Difference:
    """A model's gain over another in one metric, on the users both were measured on.

    Args:
        mean: of the users' differences, seeds averaged first.
        low, high: ends of the 95 % bootstrap interval.
        p: of the paired test, two-sided.
        effect: mean over standard deviation of the users' differences (Cohen's d of pairs).
        users: how many.
        seeds: of the better and of the base; where one of them is 1, the interval speaks of users
            only and claims nothing about other seeds.
        test: which one.
    """

    mean: float
    low: float
    high: float
    p: float
    effect: float
    users: int
    seeds: tuple[int, int]
    test: Test

    @property
    def over_seeds(self) -> bool:
        """Whether the interval covers the choice of seeds."""
        return min(self.seeds) > 1


def difference(
    model: ArrayLike,
    base: ArrayLike,
    *,
    test: Test = "t",
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """The gain of `model` over `base`, with interval and test.

    The interval is a percentile bootstrap that draws users, and each side's seeds, with
    replacement; the test compares users' means over seeds.

    Args:
        model: metric of each seed and user, [seeds, U] or [U].
        base: likewise, for the same users in the same order; other seeds, as many or not.
        test: see `paired_p`.
        resamples: of the bootstrap.
        seed: of the draws.

    Raises:
        InputError: different users, or values that are not finite.

    Example:
        >>> gain = difference([[0.5, 0.25, 0.75, 1.0]], [[0.25, 0.25, 0.5, 0.75]])
        >>> gain.mean, gain.users, gain.over_seeds
        (0.1875, 4, False)
    """
    a, b = _table(model), _table(base)
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"pairs need the same users: one side has {a.shape[1]:,}, the other {b.shape[1]:,}"
        )
    gains = a.mean(0) - b.mean(0)
    rows = np.concatenate([_widened(a), -_widened(b)])
    draws = bootstrap(rows, (len(a), len(b)), resamples, seed)
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return Difference(
        mean=float(gains.mean()),
        low=low,
        high=high,
        p=paired_p(gains, test, seed=seed),
        effect=effect_size(gains),
        users=len(gains),
        seeds=(len(a), len(b)),
        test=test,
    )


def mean_interval(
    values: ArrayLike, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of a metric with its 95 % interval over users and, where there are several, seeds.

    Args:
        values: [seeds, U] or [U].
        resamples: of the bootstrap.
        seed: of the draws.

    Example:
        >>> mean, low, high = mean_interval([0.0, 1.0, 1.0, 0.0])
        >>> mean, 0 <= low < 0.5 < high <= 1
        (0.5, True)
    """
    table = _table(values)
    draws = bootstrap(_widened(table), (len(table),), resamples, seed)
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return float(table.mean()), low, high


def bootstrap(values: Values, groups: Sequence[int], resamples: int, seed: int) -> Values:
    """Sums of groups' means, users and each group's rows drawn with replacement.

    Args:
        values: [rows, U].
        groups: rows of each group, in order; every group is drawn by itself, users together.
        resamples: how many draws.
        seed: of the draws.

    Returns:
        float64 [resamples].
    """
    random = np.random.default_rng(seed)
    n = values.shape[1]
    by_row = np.empty((resamples, len(values)))
    columns, counts = _distinct_columns(values)
    step = max(1, _BLOCK // max(columns.shape[1], 1))
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = random.multinomial(n, counts / n, size=stop - start)
        by_row[start:stop] = drawn @ columns.T / n
    weights = np.concatenate(
        [
            random.multinomial(size, np.full(size, 1 / size), size=resamples) / size
            for size in groups
        ],
        axis=1,
    )
    return np.asarray((by_row * weights).sum(1))


def paired_p(
    gains: ArrayLike, test: Test = "t", *, resamples: int = 10_000, seed: int = 0
) -> float:
    """The two-sided p-value of users' differences being centred on 0.

    Args:
        gains: one difference per user.
        test: `t`, Student's for pairs; `wilcoxon`, signed ranks, zeros left out; or
            `randomisation`, random signs, which assumes nothing but their symmetry.
        resamples: of the randomisation.
        seed: of the randomisation.

    Returns:
        1 where all differences are 0.

    Raises:
        UnknownNameError: another test.

    Example:
        >>> paired_p([0.1, 0.2, 0.1, 0.3, 0.2], "t") < 0.05
        True
    """
    from scipy import stats

    values = np.asarray(gains, np.float64)
    if test not in TESTS:
        raise UnknownNameError("test", test, TESTS)
    if len(values) < 2 or not values.any():
        return 1.0
    if test == "t":
        return 0.0 if values.std() == 0 else float(stats.ttest_1samp(values, 0.0).pvalue)
    if test == "wilcoxon":
        return float(stats.wilcoxon(values).pvalue)
    return _random_signs(values, resamples, seed)


def resampled_t(gains: ArrayLike, ratio: float) -> tuple[float, float, float]:
    r"""Interval and p-value of a mean gain over splits of the same data.

    .. math::
        t = \frac{\bar g}{\sqrt{(1 / k + n_{test} / n_{train}) \, s^2}}, \quad k - 1 \text{ degrees}

    with s the standard deviation of the k gains. Training parts of splits of one data set
    overlap, so that a plain t-test over splits finds differences too readily; the second term
    makes up for it.

    Source: Inference for the Generalization Error, 2003, doi 10.1023/A:1024068626366.

    Args:
        gains: one per split, at least 2.
        ratio: n_test / n_train; 0 is the plain paired t-test.

    Returns:
        Ends of the 95 % interval, and p, two-sided.

    Raises:
        InputError: fewer than 2 splits.

    Example:
        >>> low, high, p = resampled_t([0.1, 0.2, 0.3], 0.25)
        >>> round(low, 3), round(high, 3), round(p, 3)
        (-0.129, 0.529, 0.12)
    """
    from scipy import stats

    values = np.asarray(gains, np.float64)
    if len(values) < 2:
        raise InputError(f"a test over splits needs at least 2, got {len(values)}")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    error = float(np.sqrt(1 / len(values) + ratio)) * spread
    if error == 0:
        return mean, mean, 1.0 if mean == 0 else 0.0
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean - reach, mean + reach, 2 * float(stats.t.sf(abs(mean) / error, len(values) - 1))


def _random_signs(values: Values, resamples: int, seed: int) -> float:
    """Sums under random signs; users of equal size of difference are drawn together."""
    random = np.random.default_rng(seed)
    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    observed = abs(values.sum())
    reached = 0
    step = max(1, _BLOCK // len(sizes))
    for start in range(0, resamples, step):
        positive = random.binomial(counts, 0.5, (min(step, resamples - start), len(sizes)))
        sums = np.abs((2 * positive - counts) @ sizes)
        reached += int((sums >= observed * (1 - 1e-12)).sum())
    return (reached + 1) / (resamples + 1)


def effect_size(gains: ArrayLike) -> float:
    """Mean over standard deviation of users' differences; 0 where none differs.

    Example:
        >>> effect_size([1.0, 3.0]).__round__(3)
        1.414
    """
    values = np.asarray(gains, np.float64)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if spread == 0.0:
        return 0.0 if not values.any() else float(np.copysign(np.inf, values.mean()))
    return float(values.mean()) / spread


def holm(p: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted so that any false alarm is as rare as in one test.

    Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def mark(p: float, low: float, high: float) -> str:
    """The usual marks: *** below 0.001, ** below 0.01, * below 0.05.

    There is none where the interval holds 0: p-values are over users, intervals over seeds too.

    Example:
        >>> mark(0.004, 0.1, 0.3), mark(0.004, -0.1, 0.3)
        ('**', '')
    """
    if low <= 0 <= high:
        return ""
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""


def _widened(rows: Values) -> Values:
    """Rows of seeds spread about their mean so that drawing from few is not too narrow.

    The variance of S values drawn with replacement is (S - 1) / S of what it estimates.
    """
    if len(rows) < 2:
        return rows
    mean = rows.mean(0)
    wide: Values = mean + (rows - mean) * np.sqrt(len(rows) / (len(rows) - 1))
    return wide


def _table(values: ArrayLike) -> Values:
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or not table.size:
        raise InputError(f"values must be [seeds, users] and not empty, got shape {table.shape}")
    if not np.isfinite(table).all():
        raise InputError("values must be finite; leave out users for whom a metric is undefined")
    return table


def _distinct_columns(values: Values) -> tuple[Values, NDArray[np.int64]]:
    """Users with equal values in all rows, once each, and how many they are."""
    columns, counts = np.unique(values, axis=1, return_counts=True)
    return columns, counts
