"""Held-out devices never train for their job, by whatever way a device comes to a round."""

import pytest

from jobs import holdout, selectors
from jobs import services as job_services
from jobs.services import rounds
from scheduling import planning, publishing
from scheduling.binding import Bound, ChoiceRequest, Nothing, Offered
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.plans import (
    GROUPS,
    binder,
    publish,
    requests,
    round_,
    round_id,
)

KEY = "0123456789abcdef" * 2
TRAIN = holdout.Rule(KEY, 0.3, wants_held_out=False)
EVALUATE = holdout.Rule(KEY, 0.3, wants_held_out=True)


async def test_the_bind_script_and_python_agree_on_who_is_held_out():
    publish(round_(1, free=200, holdout=TRAIN.record), round_(2, free=200, holdout=EVALUATE.record))
    asked = requests(200)
    async with binder() as door:
        answers = await door.bind(asked, GROUPS)
    for one, answer in zip(asked, answers, strict=True):
        assert isinstance(answer, Bound)
        assert answer.round_id == round_id(2 if EVALUATE.admits(one.device_id) else 1)


async def test_another_jobs_round_is_open_to_them():
    publish(round_(1, free=200, holdout=TRAIN.record), round_(2, free=200))
    asked = requests(100)
    async with binder() as door:
        answers = await door.bind(asked, GROUPS)
    given = {one.device_id: answer.round_id for one, answer in zip(asked, answers, strict=True)}
    assert given == {
        one.device_id: round_id(1 if TRAIN.admits(one.device_id) else 2) for one in asked
    }


async def test_rounds_that_may_not_have_a_device_are_neither_offered_to_it_nor_to_be_chosen():
    publish(
        round_(1, free=100, private=True, holdout=TRAIN.record),
        round_(2, free=100, private=True, holdout=EVALUATE.record),
    )
    asked = requests(40)
    both = (round_id(1), round_id(2))
    async with binder() as door:
        answers = await door.bind(asked, GROUPS)
        chosen = await door.choose(
            [ChoiceRequest(one.device_id, one.assignment_id, "aa", both) for one in asked]
        )
        wrong = await door.choose(
            [
                ChoiceRequest(one.device_id, one.assignment_id, "aa", (round_id(1),))
                for one in requests(40)
                if EVALUATE.admits(one.device_id)
            ]
        )
    for one, answer, choice in zip(asked, answers, chosen, strict=True):
        mine = round_id(2 if EVALUATE.admits(one.device_id) else 1)
        assert isinstance(answer, Offered)
        assert answer.round_ids == (mine,)
        assert isinstance(choice, Bound)
        assert choice.round_id == mine
    assert set(wrong) <= {Nothing()}


FEDBUFF = {
    "strategy": {"name": "fedbuff", "buffer_size": 5},
    "workload": {"kind": "handler", "handler": "train", "dataset": "digits"},
}


@pytest.mark.django_db
@pytest.mark.parametrize("more", [{}, FEDBUFF], ids=["rounds", "buffers"])
def test_every_round_of_such_a_job_is_published_with_its_side(redis, more):
    job = factories.job(
        factories.tenant(), evaluation={"every": 1, "demand": 5, "fraction": 0.3}, **more
    )
    first = factories.open_round(job)
    with system_scope():
        rounds.close(first, now=later(1))
        job_services.complete_round(
            round_id=first.id, parameters_digest="b" * 64, parameters_size=1, version=1,
            metrics={}, now=later(1),
        )  # fmt: skip
        kinds = {str(one.id): one.kind for one in selectors.open_rounds()}
        published = planning.prepare(publishing.begin(), now=later(2)).rounds
    sides = {kinds[one.id]: one.holdout for one in published}
    assert sides["train"] == holdout.Rule(job.holdout_key, 0.3, False).record
    assert sides["evaluate"] == holdout.Rule(job.holdout_key, 0.3, True).record
    assert len(job.holdout_key) == 32


@pytest.mark.django_db
def test_a_job_that_holds_out_nobody_has_no_key_and_its_rounds_are_for_all(redis):
    job = factories.job(factories.tenant(), evaluation={"every": 1, "demand": 6})
    assert job.holdout_key == ""
    with system_scope():
        (one,) = planning.prepare(publishing.begin(), now=NOW).rounds
    assert one.holdout == ""
