"""The bind scripts on the real Valkey: who gets a slot, and that nobody gets one too many."""

import asyncio
import threading
from collections import Counter

import pytest

from scheduling import keys, publishing
from scheduling.binding import (
    Bound,
    ChoiceRequest,
    NoEpoch,
    Nothing,
    Offered,
    Settlement,
    StaleGroups,
    Unplanned,
)
from tests.integration.scheduling.plans import (
    GROUPS,
    binder,
    publish,
    request,
    requests,
    round_,
    round_id,
)


async def bind(*asked, groups=GROUPS):
    async with binder() as door:
        return await door.bind(asked, groups)


def settled(asked, answer, outcome="assigned"):
    return Settlement(answer.round_id, asked.assignment_id, asked.device_id, outcome)


def rounds_of(answers):
    return [one.round_id if isinstance(one, Bound) else None for one in answers]


class TestBind:
    async def test_it_fills_rounds_in_the_plans_order_and_then_grants_nothing(self):
        notice = publish(round_(1, free=2), round_(2, free=1))
        answers = await bind(*requests(4))
        assert rounds_of(answers) == [round_id(1), round_id(1), round_id(2), None]
        assert {one.plan_version for one in answers[:3]} == {notice.version}
        assert answers[3] == Nothing()

    async def test_it_serves_a_signature_only_rounds_of_its_groups(self):
        publish(round_(1, free=1, group="bb"), round_(2, free=1), signatures=("aa", "aa+bb", ""))
        answers = await bind(request("aa"), request("aa"), request("aa+bb"), request(""))
        assert rounds_of(answers) == [round_id(2), None, round_id(1), None]

    async def test_it_merges_the_queues_of_a_signature_by_the_order_of_all(self):
        groups = ("aa", "bb", "aa", "cc", "bb", "dd", "cc", "aa")
        rounds = [round_(number, free=1, group=group) for number, group in enumerate(groups, 1)]
        publish(*rounds, signatures=("aa+bb+cc", "bb+dd", "cc"), merged=True)
        answers = await bind(
            *requests(2, "aa+bb+cc"), *requests(1, "cc"), *requests(3, "bb+dd"),
            *requests(4, "aa+bb+cc"),
        )  # fmt: skip
        given = [int(one[-4:], 16) if one else None for one in rounds_of(answers)]
        assert given == [1, 2, 4, 5, 6, None, 3, 7, 8, None]

    async def test_places_that_have_changed_reach_a_plan_that_tells_changes_only(self):
        first, second = round_(1, free=1), round_(2, free=1, group="bb")
        publish(first, second, signatures=("aa+bb",), merged=True)
        publish(second, first, signatures=("aa+bb",), merged=True)
        answers = await bind(*requests(2, "aa+bb"))
        assert rounds_of(answers) == [round_id(2), round_id(1)]

    async def test_it_never_gives_a_device_a_round_that_it_has_had(self):
        publish(round_(1, free=5), round_(2, free=1))
        answers = await bind(*(request(device="d") for _ in range(3)))
        assert rounds_of(answers) == [round_id(1), round_id(2), None]

    async def test_it_refuses_devices_signed_under_other_groups(self):
        publish(round_(1, free=5))
        assert await bind(*requests(2), groups="older") == [StaleGroups(GROUPS)] * 2

    async def test_without_an_epoch_nothing_binds(self, redis):
        assert await bind(request()) == [NoEpoch()]
        publish(round_(1, free=5))
        redis.flushall()
        assert await bind(request()) == [NoEpoch()]

    async def test_a_signature_in_no_plan_is_noted_for_the_next(self, redis):
        publish(round_(1, free=5))
        assert await bind(request("aa+cc")) == [Unplanned()]
        assert redis.smembers(keys.WANTED) == {b"aa+cc"}

    async def test_a_shuffled_plan_spreads_devices_over_all_rounds(self):
        publish(*(round_(number, free=100) for number in range(1, 5)), shuffled=True)
        counts = Counter(rounds_of(await bind(*requests(200))))
        assert set(counts) == {round_id(number) for number in range(1, 5)}
        assert min(counts.values()) > 20

    async def test_scripts_that_redis_forgot_are_loaded_again(self, redis):
        publish(round_(1, free=5))
        async with binder() as door:
            await door.bind([request()], GROUPS)
            redis.script_flush()
            assert rounds_of(await door.bind([request()], GROUPS)) == [round_id(1)]

    def test_it_never_gives_more_than_there_is_however_many_ask_at_once(self):
        publish(round_(1, free=70), round_(2, free=30), room={"acme": 90})
        answers = []
        lock = threading.Lock()

        def gateway():
            async def ask():
                async with binder() as door:
                    for _ in range(10):
                        found = await door.bind(requests(5), GROUPS)
                        with lock:
                            answers.extend(found)

            asyncio.run(ask())

        threads = [threading.Thread(target=gateway) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter(rounds_of(answers)) == {round_id(1): 70, round_id(2): 20, None: 210}


class TestCeilings:
    async def test_a_tenant_at_its_ceiling_leaves_the_device_to_the_next(self):
        publish(
            round_(1, free=9), round_(2, free=9), round_(3, free=9, tenant="other"),
            room={"acme": 2},
        )  # fmt: skip
        answers = await bind(*requests(4))
        assert rounds_of(answers) == [round_id(1), round_id(1), round_id(3), round_id(3)]

    async def test_grants_that_are_no_rows_yet_count_against_it(self):
        publish(round_(1, free=9), room={"acme": 2})
        await bind(request())
        publish(round_(1, free=9), room={"acme": 2})
        assert rounds_of(await bind(*requests(2))) == [round_id(1), None]


class TestOffers:
    async def test_a_private_constraint_first_makes_an_offer_and_grants_nothing(self):
        publish(round_(1, free=1, private=True), round_(2, free=1), round_(3, free=0))
        first, second = await bind(*requests(2))
        assert first == second
        assert isinstance(first, Offered)
        assert first.round_ids == (round_id(1), round_id(2))

    async def test_a_round_before_it_without_one_is_bound_at_once(self):
        publish(round_(1, free=1), round_(2, free=1, private=True))
        first, second = await bind(*requests(2))
        assert rounds_of([first]) == [round_id(1)]
        assert second.round_ids == (round_id(2),)

    async def test_an_offer_shows_eight_rounds_at_most(self):
        publish(*(round_(number, free=1, private=True) for number in range(1, 12)))
        (answer,) = await bind(request())
        assert answer.round_ids == tuple(round_id(number) for number in range(1, 9))

    async def test_a_choice_gets_the_first_that_is_still_open(self):
        notice = publish(round_(1, free=1, private=True), round_(2, free=5, private=True))
        ranked = (round_id(1), round_id(2))
        async with binder() as door:
            answers = await door.choose(
                [ChoiceRequest(f"d{n}", f"a{n}", "aa", ranked) for n in range(2)]
            )
        assert answers == [
            Bound(round_id(1), notice.version),
            Bound(round_id(2), notice.version),
        ]

    async def test_what_a_device_refused_is_not_offered_to_it_again(self):
        publish(round_(1, free=1, private=True), round_(2, free=1, private=True))
        async with binder() as door:
            refusal = ChoiceRequest("d", "a", "aa", (), (round_id(1),))
            assert await door.choose([refusal]) == [Nothing()]
            (again,) = await door.bind([request(device="d")], GROUPS)
            (other,) = await door.bind([request(device="e")], GROUPS)
        assert again.round_ids == (round_id(2),)
        assert other.round_ids == (round_id(1), round_id(2))

    async def test_a_device_cannot_choose_a_round_that_it_is_not_eligible_for(self):
        publish(round_(1, free=1, group="bb"), signatures=("aa", "bb"))
        async with binder() as door:
            chosen = await door.choose([ChoiceRequest("d", "a", "aa", (round_id(1), "nonsense"))])
        assert chosen == [Nothing()]

    async def test_what_an_offer_says_of_rounds(self):
        publish(round_(1, free=1, private=True))
        async with binder() as door:
            found = await door.round_info([round_id(1), round_id(9)])
        assert set(found) == {round_id(1)}
        assert found[round_id(1)].private == {"classes": {"min": 2}}


class TestPublish:
    async def test_an_older_plan_is_refused(self):
        publish(round_(1, free=9))
        older = publishing.begin()
        newer = publish(round_(1, free=1))
        with pytest.raises(publishing.PlanSuperseded) as caught:
            publish(round_(1, free=5), begun=older)
        assert caught.value.by == "version"
        async with binder() as door:
            assert await door.plan() == newer

    async def test_a_plan_of_another_epoch_is_refused(self, redis):
        publish(round_(1, free=1))
        before = publishing.begin()
        redis.flushall()
        with pytest.raises(publishing.PlanSuperseded) as caught:
            publish(round_(1, free=5), begun=before)
        assert caught.value.by == "epoch"
        # Two versions of one millisecond run ahead of Redis's clock, by which it goes on.
        await asyncio.sleep(0.01)
        assert publish(round_(1, free=1)).version >= before.version

    async def test_a_grant_that_is_no_row_yet_is_not_given_again(self):
        publish(round_(1, free=3))
        await bind(*requests(2))
        assert publish(round_(1, free=3)).open == {"aa": 1}

    async def test_a_commit_between_reading_rows_and_publishing_is_not_lost(self):
        """The reader saw no row, and by the time it publishes the grant is settled."""
        publish(round_(1, free=3))
        asked = request()
        async with binder() as door:
            (answer,) = await door.bind([asked], GROUPS)
            reading = publishing.begin()
            await door.settle([settled(asked, answer)])
        assert publish(round_(1, free=3), begun=reading).open == {"aa": 2}

    async def test_a_row_that_the_reader_saw_is_counted_once(self):
        publish(round_(1, free=3))
        asked = request()
        async with binder() as door:
            (answer,) = await door.bind([asked], GROUPS)
            reading = publishing.begin()
            await door.settle([settled(asked, answer)])
        assert reading.pending == (f"{asked.assignment_id}:{asked.device_id}",)
        seen_as_row = publish(round_(1, free=2), begun=reading, rows=reading.pending)
        assert seen_as_row.open == {"aa": 2}

    async def test_a_grant_that_never_became_a_row_is_free_again_after_some_seconds(self, redis):
        publish(round_(1, free=1))
        asked = request(device="d")
        await bind(asked)
        member = f"{asked.assignment_id}:d"
        redis.zincrby(f"{keys.P}pending:{round_id(1)}", -5_001, member)
        assert publish(round_(1, free=1)).open == {"aa": 1}
        assert rounds_of(await bind(request(device="d"))) == [round_id(1)]

    async def test_a_full_round_leaves_the_device_free_to_have_it_later(self):
        publish(round_(1, free=1))
        asked = request(device="d")
        async with binder() as door:
            (answer,) = await door.bind([asked], GROUPS)
            await door.settle([settled(asked, answer, "full")])
            publish(round_(1, free=1))
            assert rounds_of(await door.bind([request(device="d")], GROUPS)) == [round_id(1)]

    async def test_a_busy_device_is_not_tried_on_the_round_again(self):
        publish(round_(1, free=1))
        asked = request(device="d")
        async with binder() as door:
            (answer,) = await door.bind([asked], GROUPS)
            await door.settle([settled(asked, answer, "busy")])
            publish(round_(1, free=1))
            answers = await door.bind([request(device="d"), request(device="e")], GROUPS)
        assert rounds_of(answers) == [None, round_id(1)]

    async def test_a_round_that_closed_leaves_nothing_behind(self, redis):
        publish(round_(1, free=2))
        asked = request()
        async with binder() as door:
            (answer,) = await door.bind([asked], GROUPS)
            publish(round_(2, free=2))
            await door.settle([settled(asked, answer)])
        # Who settled stays for a reader that began before, and goes by itself.
        (left,) = [key for key in redis.scan_iter() if round_id(1).encode() in key]
        assert (left, 0 < redis.ttl(left) <= 120) == (
            f"{keys.P}settled:{round_id(1)}".encode(),
            True,
        )

    async def test_gateways_hear_of_the_slots_of_each_group_as_far_as_tenants_may(self, redis):
        listener = redis.pubsub()
        listener.subscribe(keys.PLAN_CHANNEL)
        listener.get_message(timeout=20)
        notice = publish(
            round_(1, free=3), round_(2, free=4, group="bb"), round_(3, free=9, tenant="other"),
            signatures=("", "aa", "bb", "aa+bb", "cc"), room={"other": 1},
        )  # fmt: skip
        assert notice.open == {"aa": 4, "bb": 4}
        heard = listener.get_message(timeout=20)
        listener.close()
        assert type(notice).parse(heard["data"]) == notice

    async def test_a_thousand_devices_seen_come_back_with_the_round(self):
        devices = [f"d{number}" for number in range(2_500)]
        publish(round_(1, free=3), seen={round_id(1): devices})
        answers = await bind(*(request(device=one) for one in devices[::500]), request())
        assert rounds_of(answers) == [None] * 5 + [round_id(1)]
