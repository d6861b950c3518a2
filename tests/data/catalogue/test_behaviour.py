"""Users choose by every trait, by their circle and by popularity."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.data.catalogue.behaviour import (
    CIRCLES,
    LAUNCHED,
    TASTES,
    Events,
    Inclinations,
    draw_events,
)
from graphrec.data.catalogue.randomness import stream
from graphrec.data.catalogue.traits import Traits, draw_traits

N_USERS = 2000


@pytest.fixture(scope="module")
def traits() -> Traits:
    return draw_traits(1200, seed=0)


@pytest.fixture(scope="module")
def events(traits: Traits) -> Events:
    return draw_events(traits, N_USERS, seed=0)


@pytest.fixture(scope="module")
def inclinations(traits: Traits) -> Inclinations:
    return Inclinations(traits, N_USERS, stream(0, "behaviour"))


@pytest.mark.parametrize("trait", TASTES)
def test_items_of_a_user_share_every_trait_more_than_chance(
    traits: Traits, events: Events, trait: str
) -> None:
    codes = getattr(traits, trait)[events.items]
    order = np.lexsort((events.timestamps, events.users))
    users, ordered = events.users[order], codes[order]
    same_user = users[1:] == users[:-1]
    together = (ordered[1:] == ordered[:-1])[same_user].mean()
    frequency = np.bincount(codes) / len(codes)
    assert together > 1.1 * (frequency**2).sum()


def test_circles_take_what_they_adore_and_others_do_not(
    events: Events, inclinations: Inclinations
) -> None:
    members = inclinations.adored[inclinations.circle[events.users], events.items].mean()
    shifted = (inclinations.circle + 1) % CIRCLES
    strangers = inclinations.adored[shifted[events.users], events.items].mean()
    assert members > 4 * strangers


def test_what_circles_adore_has_no_content_in_common(
    traits: Traits, inclinations: Inclinations
) -> None:
    pairs = same = 0
    for adored in inclinations.adored:
        families = traits.family[adored]
        pairs += len(families) * (len(families) - 1)
        same += int((families[:, None] == families).sum()) - len(families)
    chance = ((np.bincount(traits.family) / len(traits)) ** 2).sum()
    assert same / pairs == pytest.approx(chance, abs=0.01)


def test_choices_follow_the_inclinations(
    traits: Traits, events: Events, inclinations: Inclinations
) -> None:
    odds = inclinations.of(slice(0, N_USERS))
    ranks = (-odds).argsort(axis=1).argsort(axis=1)
    chosen = ranks[events.users, events.items]
    assert float(np.median(chosen)) < 0.05 * len(traits)


def test_new_items_wait_for_their_launch(traits: Traits, events: Events) -> None:
    new = traits.new[events.items]
    assert events.timestamps[new].min() >= LAUNCHED
    assert (events.labels[new] > 0).all()
    assert {1, 2} == set(events.labels[new].tolist())
    assert np.bincount(events.users[new]).max() == 1


def test_activity_is_skewed_and_never_below_five(events: Events) -> None:
    counts = np.bincount(events.users, minlength=N_USERS)
    assert counts.min() == 5
    assert counts.max() > 3 * np.median(counts)
