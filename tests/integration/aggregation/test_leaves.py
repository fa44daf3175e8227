"""What the root takes from leaves: each update once, and a round never waits for ever."""

from __future__ import annotations

import numpy as np
import pytest

import jobs.services
from aggregation import leaves, partials, services
from aggregation.models import Batch, Hold, Leaf, Partial, Update
from clients import services as client_services
from core.errors import NotFound
from core.models import Event
from jobs.models import Assignment, Round
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.aggregation import leaves as at
from tests.integration.aggregation.test_rounds import finish, model_of
from tests.integration.aggregation.worlds import make_world, send
from tests.integration.factories import NOW, later

pytestmark = pytest.mark.django_db


PRIVACY = {"clip": {"kind": "fixed", "norm": 1.0}, "noise_multiplier": 1.0, "delta": 1e-5}


@pytest.fixture
def leaf():
    return at.make()[0]


@pytest.fixture
def taking(world):
    """A round and its bound (assignment, device)."""
    round_ = world.round()
    return round_, world.bind(round_)


def state_of(round_: Round) -> Round:
    with system_scope():
        round_.refresh_from_db()
    return round_


def test_a_held_update_frees_its_device_and_counts_with_its_partial(world, leaf, taking):
    round_, bound = taking
    ids = [one for one, _ in bound]
    done = at.hold(leaf, round_.id, *ids[:5], weight=2.0, loss=3.0)
    assert (done.taken, done.refused, done.push) == (frozenset(ids[:5]), {}, False)
    assert state_of(round_).reported == 0
    with system_scope():
        held = Assignment.objects.filter(round=round_, status="reported")
        assert set(held.values_list("id", flat=True)) == set(ids[:5])
        assert leaves.beat(leaf=leaf, load={}, round_ids=[round_.id], now=NOW) == {
            round_.id: "open"
        }
    assert at.hold(leaf, round_.id, ids[5], weight=1.0).push
    with system_scope():
        told = leaves.beat(leaf=leaf, load={}, round_ids=[round_.id], now=NOW)
    assert told == {round_.id: "push"}
    # Σ weight · value, with value 4 of weight 2 five times, and 15 once
    assert at.commit(leaf, round_.id, 55.0, ids[:2], ids[2:4], ids[4:]) == 0
    assert (state_of(round_).status, round_.reported) == ("aggregating", 6)
    with system_scope():
        assert finish(round_.id)
        assert model_of(world.job.id)["weight"].tolist() == [[5.0] * 2] * 2
        assert state_of(round_).metrics == {"loss": 3.0}
        assert not Hold.objects.exists()


def test_a_leaf_holds_nothing_for_a_device_that_was_revoked(leaf, taking):
    round_, bound = taking
    (shut_out, device), (other, _) = bound[:2]
    with system_scope():
        client_services.revoke_device(device_id=device.id, actor="test", now=NOW)
    done = at.hold(leaf, round_.id, shut_out, other)
    assert done.taken == {other}
    assert isinstance(done.refused[shut_out], jobs.services.AssignmentOver)


def test_a_partial_and_updates_that_came_here_are_one_round(world, leaf, taking):
    round_, bound = taking
    send(*bound[0], 1.0)
    ids = [one for one, _ in bound[1:4]]
    at.hold(leaf, round_.id, *ids)
    assert at.commit(leaf, round_.id, 9.0, ids) == 1
    for one in bound[4:]:
        send(*one, 1.0)
    with system_scope():
        batches = list(Batch.objects.filter(round=round_).values_list("number", "first", "last"))
        # The batch that had begun was closed short, and the next one begins after the partial.
        assert sorted(batches) == [(0, 1, 1), (1, 2, 4), (2, 5, 6)]
        assert finish(round_.id)
        assert model_of(world.job.id)["weight"].tolist() == [[2.0] * 2] * 2
        assert Update.objects.filter(round=round_, partial=None).count() == 0


def test_a_repeat_of_a_partial_is_answered_as_the_first(leaf, taking):
    round_, bound = taking
    ids = [one for one, _ in bound[:3]]
    at.hold(leaf, round_.id, *ids)
    assert at.commit(leaf, round_.id, 1.0, ids) == at.commit(leaf, round_.id, 1.0, ids) == 0
    assert state_of(round_).reported == 3
    with system_scope():
        assert Partial.objects.filter(round=round_).count() == 1


def test_a_partial_with_what_the_root_has_is_refused_naming_it(leaf, taking):
    round_, bound = taking
    ids = [one for one, _ in bound[:3]]
    at.hold(leaf, round_.id, *ids)
    # The device never heard its acknowledgement and sent the update here.
    assert send(*bound[1], 5.0) == services.Accepted(1, already=False)
    with pytest.raises(partials.Overlap) as refusal:
        at.commit(leaf, round_.id, 3.0, ids)
    assert set(refusal.value.errors) == {str(ids[1])}
    assert state_of(round_).reported == 1
    assert at.commit(leaf, round_.id, 2.0, [ids[0], ids[2]]) == 1
    assert state_of(round_).reported == 3


def test_a_device_is_told_accepted_while_the_leaf_is_alive(leaf, taking):
    round_, bound = taking
    identifier, device = bound[0]
    at.hold(leaf, round_.id, identifier)
    asked = {"assignment_id": identifier, "device_id": device.id}
    with system_scope():
        assert services.already_accepted(**asked, now=NOW)
        assert not services.already_accepted(**asked, now=later(16))


def test_holding_again_is_the_same_and_what_is_not_wanted_is_refused(world, leaf, taking):
    round_, bound = taking
    ids = [one for one, _ in bound]
    at.hold(leaf, round_.id, ids[0])
    with system_scope():
        jobs.services.give_back(
            assignment_id=ids[1], device_id=bound[1][1].id, status="failed", code="x", message="",
            now=NOW,
        )  # fmt: skip
    send(*bound[2], 1.0)
    done = at.hold(leaf, round_.id, *ids[:3])
    assert done.taken == {ids[0]}
    assert {one: error.code for one, error in done.refused.items()} == {
        ids[1]: "assignment_over",
        ids[2]: "already_reported",
    }
    with pytest.raises(NotFound):
        at.hold(leaf, ids[0], ids[0])


def test_a_leaf_of_other_pools_holds_nothing(taking):
    round_, bound = taking
    stranger, _ = at.make("stranger", factories.pool())
    done = at.hold(stranger, round_.id, bound[0][0])
    assert done.taken == frozenset()
    assert [error.code for error in done.refused.values()] == ["round_closed"]
    with system_scope():
        assert not leaves.serves(stranger, round_)


def test_another_leafs_updates_cannot_be_handed_over(leaf, taking):
    round_, bound = taking
    forger, _ = at.make("forger")
    at.hold(leaf, round_.id, bound[0][0])
    with pytest.raises(partials.Overlap):
        at.commit(forger, round_.id, 1e6, [bound[0][0]])
    with pytest.raises(partials.Overlap):
        at.commit(leaf, round_.id, 2.0, [bound[0][0], bound[0][0]])
    assert state_of(round_).reported == 0


@pytest.mark.parametrize(("value", "text"), [(np.inf, "finite"), (np.nan, "finite")])
def test_a_sum_that_is_not_finite_is_refused(leaf, taking, value, text):
    round_, bound = taking
    at.hold(leaf, round_.id, bound[0][0])
    with pytest.raises(partials.PartialRefused, match=text):
        at.commit(leaf, round_.id, value, [bound[0][0]])


@pytest.mark.parametrize(
    "changes",
    [{"strategy": {"name": "median"}}, {"privacy": PRIVACY}],
    ids=["all_updates", "private"],
)
def test_sums_are_refused_where_the_updates_themselves_are_wanted(leaf, changes):
    world = make_world(**changes)
    round_ = world.round()
    bound = world.bind(round_)
    at.hold(leaf, round_.id, bound[0][0])
    with pytest.raises(partials.PartialRefused, match="no sums"):
        at.commit(leaf, round_.id, 1.0, [bound[0][0]])


def test_a_full_round_waits_for_its_leaf_and_no_longer_than_it_may(leaf, taking):
    round_, bound = taking
    at.hold(leaf, round_.id, bound[0][0])
    for one in bound[1:]:
        send(*one, 1.0)
    assert (state_of(round_).status, round_.reported) == ("executing", 5)
    with system_scope():
        assert leaves.give_up(now=later(9)) == 0
        leaves.beat(leaf=leaf, load={}, round_ids=[], now=later(9))
        assert leaves.give_up(now=later(11)) == 1
    assert (state_of(round_).status, round_.assigned) == ("executing", 5)
    assert round_.reason["code"] == "leaf_lost"
    assert "1 updates that leaf attic had taken are given up" in round_.reason["message"]
    with system_scope():
        lost = Assignment.objects.get(id=bound[0][0])
        assert (lost.status, lost.code) == ("failed", "leaf_lost")
        assert Event.objects.filter(kind="round.leaf_lost").count() == 1
        # Its late partial is refused by name: it must not count after all.
        with pytest.raises(partials.Overlap):
            at.commit(leaf, round_.id, 1.0, [bound[0][0]])


def test_a_round_with_enough_closes_when_it_has_waited(leaf, taking):
    round_, bound = taking
    other, _ = at.make("cellar")
    at.hold(leaf, round_.id, bound[0][0])
    with system_scope():
        # More than it asked for, as when a device was counted twice over by its word and a leaf's.
        Round.objects.filter(id=round_.id).update(demand=5)
    for one in bound[1:]:
        send(*one, 1.0)
    assert (state_of(round_).status, round_.reported) == ("executing", 5)
    with system_scope():
        jobs.services.sweep(now=later(9))
        assert state_of(round_).status == "executing"
        jobs.services.sweep(now=later(11))
    assert state_of(round_).status == "aggregating"
    assert "the round closed without them" in round_.reason["message"]
    with system_scope():
        leaves.give_up(now=later(12))
        assert not Hold.objects.exists()
        assert leaves.beat(leaf=other, load={}, round_ids=[round_.id], now=NOW) == {
            round_.id: "over"
        }


def test_the_deadline_waits_for_leaves_too(leaf, taking):
    round_, bound = taking
    ids = [one for one, _ in bound[:5]]
    at.hold(leaf, round_.id, *ids)
    with system_scope():
        jobs.services.sweep(now=later(21))
        assert (state_of(round_).status, round_.extensions) == ("executing", 0)
        told = leaves.beat(leaf=leaf, load={}, round_ids=[round_.id], now=later(21))
        assert told == {round_.id: "push"}
    assert not at.hold(leaf, round_.id, bound[5][0], now=later(21)).taken
    at.commit(leaf, round_.id, 5.0, ids, now=later(22))
    with system_scope():
        jobs.services.sweep(now=later(23))
    assert (state_of(round_).status, round_.reported) == ("aggregating", 5)


def test_a_silent_leafs_slots_are_open_again(leaf, taking):
    round_, bound = taking
    at.hold(leaf, round_.id, *[one for one, _ in bound[:3]])
    with system_scope():
        assert leaves.give_up(now=later(14)) == 0
        assert leaves.give_up(now=later(16)) == 3
    assert (state_of(round_).assigned, round_.lost) == (3, 3)
    assert "it has not been heard for 15 s" in round_.reason["message"]


def test_what_is_held_of_a_round_that_fails_has_failed_with_it(leaf, taking):
    round_, bound = taking
    ids = [one for one, _ in bound[:2]]
    at.hold(leaf, round_.id, *ids)
    with system_scope():
        jobs.services.fail_round(round_id=round_.id, code="x", message="y", now=later(1))
        found = Assignment.objects.filter(id__in=ids).values_list("status", "code", "message")
        text = "its round ended before its leaf handed the update over"
        assert list(found) == [("failed", "leaf_lost", text)] * 2
    assert state_of(round_).lost == 2
    with pytest.raises(jobs.services.RoundClosed):
        at.commit(leaf, round_.id, 1.0, ids)


def test_a_revoked_leaf_is_nobody(leaf):
    _, token = at.make("gone")
    with system_scope():
        assert leaves.authenticate(token).name == "gone"
        leaves.revoke_leaf(name="gone", actor="test", now=NOW)
        with pytest.raises(leaves.LeafUnknown):
            leaves.authenticate(token)
        with pytest.raises(NotFound):
            leaves.revoke_leaf(name="gone", actor="test", now=NOW)
        assert [url for _, url, _ in leaves.addresses(now=NOW)] == ["http://attic:9"]
        assert leaves.addresses(now=later(20)) == []


@pytest.mark.parametrize("url", ["leaf:80", "ftp://leaf", "http://", "http://leaf/?x=1"])
def test_an_address_that_no_device_can_use_is_refused(url):
    with system_scope(), pytest.raises(leaves.BadUrl) as refusal:
        leaves.create_leaf(name="x", url=url, pools=[], actor="test", now=NOW)
    assert "url" in refusal.value.errors


def test_names_are_unique_and_tenants_see_no_leaf(leaf, world):
    with system_scope(), pytest.raises(leaves.NameTaken):
        leaves.create_leaf(name="attic", url="http://a", pools=[], actor="test", now=NOW)
    from tenants.scopes import scope

    with scope(world.tenant.id):
        assert not Leaf.objects.exists()
