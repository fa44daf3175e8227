"""The fleet's last day on the overview: what is drawn, told and hidden."""

from datetime import timedelta

import pytest
from django.utils import timezone

from scheduling import day as day_selectors
from scheduling.models import PoolMinute
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture(autouse=True)
def forget():
    """What is kept for a minute is another test's."""
    day_selectors._day.cache_clear()


@pytest.fixture
def minute(world):
    """Return a function that keeps a minute of a pool, some minutes ago."""

    def keep(pool, online, mine=0, others=0, wanted=0, devices=None, back=0, tiers=()):
        at = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=back)
        parts = {str(world.tenant.id): [mine, wanted], str(world.other.id): [others, 0]}
        with system_scope():
            PoolMinute.objects.create(
                tenant_id=pool.tenant_id, pool=pool, at=at, devices=devices or online + 9,
                online=online, bound=mine + others, wanted=wanted, by_tenant=parts,
                tiers=list(tiers),
            )  # fmt: skip

    return keep


@pytest.fixture
def fleet(world):
    for _ in range(6):
        factories.device(world.shared)
    return world


def tiers(found):
    return [(one.number, one.online.text, one.bound.text) for one in found]


def bounds(figure):
    return {"at_least": figure.least, "at_most": figure.most}


def overview(browse, user):
    answer = browse(user).get("/")
    return answer.context["day"], answer.content.decode()


def test_it_says_what_comes_before_the_first_minute_is_kept(fleet, browse):
    day, text = overview(browse, fleet.viewer)
    assert "what devices do is kept once a minute" in text
    assert day.average is None


def test_it_draws_who_worked_for_whom_and_what_was_asked_for(fleet, browse, minute):
    minute(fleet.shared, online=60, mine=10, others=20, wanted=15)
    minute(fleet.private, online=40, mine=40)
    day, text = overview(browse, fleet.viewer)
    (one,) = day.stretches
    found = [getattr(one, name).text for name in ("mine", "others", "idle", "online", "asked")]
    assert found == ["50", "20", "30", "100", "85"]
    assert (day.average.percent, day.average.is_exact) == (70, True)
    assert "70 % of the connected devices at work" in text
    assert 'class="fill mine"' in text
    assert text.count('<tr><th scope="row"><time') == 1  # the same as a table
    day, _ = overview(browse, fleet.stranger)
    (one,) = day.stretches
    assert [one.mine.text, one.others.text, one.asked.text] == ["20", "10", "45"]


def test_it_leaves_a_gap_where_nothing_was_counted(fleet, browse, minute):
    for back in (0, 600):
        minute(fleet.shared, online=50, mine=10, back=back)
    minute(fleet.shared, online=50, back=3 * 24 * 60)
    answer = browse(fleet.viewer).get("/")
    assert len(answer.context["day"].stretches) == 2
    assert answer.context["chart"].demand.count("M") == 2  # the line is broken


def test_it_gives_no_small_count_away(fleet, browse, minute):
    minute(fleet.shared, online=43, mine=40, others=3, devices=60)
    day, text = overview(browse, fleet.viewer)
    (one,) = day.stretches
    assert (one.mine.text, one.others.text, one.idle.text) == ("40", "<5", "0")
    assert one.bound.text == "<45"
    assert not day.average.is_exact
    assert "about 100 % over the day" in text


def test_it_tells_by_speed_now_and_over_the_day_and_no_small_tier_exactly(fleet, browse, minute):
    minute(
        fleet.shared, online=60, mine=20, devices=70, back=1,
        tiers=[[7.95, 30, 15], [0, 30, 5]],
    )  # fmt: skip
    day, text = overview(browse, fleet.viewer)
    assert tiers(day.tiers) == [(1, "30", "15"), (2, "30", "5")]
    assert "from 7.95" in text
    day_selectors._day.cache_clear()
    minute(fleet.shared, online=60, mine=20, devices=70, tiers=[[7.95, 30, 17], [0, 30, 3]])
    day, text = overview(browse, fleet.viewer)
    assert tiers(day.tiers) == [(1, "29 to 32", "16 to 19"), (2, "28 to 31", "<5")]
    assert tiers(day.by_tier[-1].tiers) == tiers(day.tiers)
    assert "29 to 32 connected, 16 to 19 at work" in text  # as the chart is read


def test_the_api_tells_what_the_page_shows_and_hides_as_much(fleet, browse, minute):
    minute(
        fleet.shared, online=43, mine=38, others=3, wanted=15, devices=60,
        tiers=[[7.95, 20, 18], [0, 23, 23]],
    )  # fmt: skip
    minute(fleet.private, online=12, mine=9)
    others = []
    for user in (fleet.viewer, fleet.stranger):
        day, _ = overview(browse, user)
        told = browse(user).get("/api/v1/fleet/day").json()
        (one,), (quarter,) = day.stretches, told["quarters"]
        for name in ("others", "idle", "bound", "online", "asked"):
            assert quarter[name] == bounds(getattr(one, name)), name
        assert quarter["mine"] == one.mine.own
        share = {"percent": day.average.percent, "exact": day.average.is_exact}
        assert told["at_work"] == told["at_work_now"] == share
        assert [(one["online"], one["idle"], one["bound"]) for one in told["tiers"]] == [
            (bounds(one.online), bounds(one.idle), bounds(one.bound)) for one in day.tiers
        ]
        assert [one["tiers"] for one in told["tiers_by_quarter"]] == [told["tiers"]]
        others.append(quarter["others"])
    assert others == [{"at_least": 1, "at_most": 4}, {"at_least": 36, "at_most": 39}]
