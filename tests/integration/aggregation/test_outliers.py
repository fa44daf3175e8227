"""Updates that stand out are marked as their round closes, and operators see whose they are."""

import hashlib

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aggregation import folding, marking, recipe, recipes
from aggregation.models import Batch, Partial, Update
from core.models import Event
from jobs.models import Job
from tenants.scopes import system_scope
from tests.integration.aggregation import leaves as at
from tests.integration.aggregation.test_rounds import finish, fold_all
from tests.integration.aggregation.worlds import make_world, path_of, send

pytestmark = pytest.mark.django_db

# Of 2 × 2 elements alike, so the norm is twice the value.
VALUES = [1.0, 1.1, 1.2, 1.3, 1.4, 130.0, 1.5, 1.6]
PRIVACY = {"clip": {"kind": "fixed", "norm": 1.0}, "noise_multiplier": 1.0, "delta": 1e-5}


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("op"))
    return client


def sent(values=VALUES, **changes):
    """A round of eight whose devices have all sent their update."""
    world = make_world(rounds__demand=8, **changes)
    round_ = world.round()
    for bound, value in zip(world.bind(round_), values, strict=True):
        send(*bound, value)
    return world, round_


def rows(round_):
    return list(Update.objects.filter(round=round_).order_by("sequence"))


@pytest.mark.parametrize(
    "strategy",
    [{"name": "fedavg"}, {"name": "median"}, {"name": "fedbuff", "buffer_size": 8}],
    ids=lambda one: one["name"],
)
def test_an_update_a_hundred_times_too_large_is_marked_and_counted(strategy):
    world, round_ = sent(strategy=strategy)
    with system_scope():
        assert finish(round_.id)
        found = rows(round_)
        assert [one.norm for one in found] == pytest.approx([2 * one for one in VALUES])
        assert [one.is_outlier for one in found] == [value == 130.0 for value in VALUES]
        event = Event.objects.get(kind="round.outliers")
        assert (event.job_id, event.round_id) == (world.job.id, round_.id)
        assert (event.assignment_id, event.device_id) == (None, None)
        assert event.data == {"number": 1, "attempt": 1, "round_kind": "train", "count": 1}


def test_measuring_changes_no_bit_of_what_is_folded():
    _, round_ = sent()
    with system_scope():
        alone = {}
        for batch in Batch.objects.filter(round=round_):
            hasher = hashlib.sha256()
            reports = [
                recipe.Report(path_of(one.digest), one.weight, one.metrics)
                for one in batch.updates.order_by("sequence")
            ]
            recipe.fold(recipes.of(round_), reports, hasher.update)
            alone[batch.number] = hasher.hexdigest()
        assert finish(round_.id)
        digests = Partial.objects.filter(round=round_).values_list("number", "digest")
        assert dict(digests) == alone


def test_where_all_are_alike_nothing_is_told():
    _, round_ = sent([1.0] * 8)
    with system_scope():
        assert finish(round_.id)
        assert not Update.objects.filter(is_outlier=True).exists()
        assert not Event.objects.filter(kind="round.outliers").exists()


def test_a_number_over_fewer_than_the_cohort_is_not_told():
    _, round_ = sent()
    with system_scope():
        fold_all(round_.id)
        assert marking.mark(round_, cohort=9, now=timezone.now()) == 1
        assert not Event.objects.filter(kind="round.outliers").exists()
        assert Update.objects.get(is_outlier=True).norm == 260.0


def test_a_private_jobs_updates_are_not_measured():
    _, round_ = sent(privacy=PRIVACY)
    with system_scope():
        assert finish(round_.id)
        assert {one.norm for one in rows(round_)} == {None}


def test_answers_to_a_query_are_not_measured():
    world, round_ = sent()
    with system_scope():
        spec = world.job.spec | {"workload": world.job.spec["workload"] | {"kind": "query"}}
        Job.objects.filter(id=world.job.id).update(spec=spec)
        assert folding.fold_next(round_id=round_.id, now=timezone.now())
        assert Partial.objects.filter(round=round_).exists()
        assert {one.norm for one in rows(round_)} == {None}


def test_what_a_leaf_summed_is_unknown_and_never_marked():
    world = make_world(rounds__demand=8)
    round_ = world.round()
    bound = world.bind(round_)
    leaf = at.make()[0]
    ids = [one for one, _ in bound[:6]]
    at.hold(leaf, round_.id, *ids)
    at.commit(leaf, round_.id, 1e6, ids)
    for one, value in zip(bound[6:], (1.0, 900.0), strict=True):
        send(*one, value)
    with system_scope():
        assert finish(round_.id)
        found = rows(round_)
        assert [one.norm for one in found] == [None] * 6 + [2.0, 1800.0]
        assert not any(one.is_outlier for one in found)


def test_operators_see_whose_updates_stood_out_of_late(operator):
    world, round_ = sent()
    culprit = world.devices[VALUES.index(130.0)]
    with system_scope():
        assert finish(round_.id)
    # Accepted long ago.
    assert culprit.name not in listed(operator, "clients/device", outliers="some")
    with system_scope():
        Update.objects.update(accepted_at=timezone.now())
    assert listed(operator, "clients/device", outliers="some") == [culprit.name]
    assert len(listed(operator, "clients/device")) == 8
    query = {"assignment__device__id__exact": str(culprit.id), "is_outlier__exact": 1}
    link = f"/admin/aggregation/update/?assignment__device__id__exact={culprit.id}"
    for page in ("", f"{culprit.id}/change/"):
        shown = operator.get(f"/admin/clients/device/{page}").content.decode()
        assert f'href="{link}&amp;is_outlier__exact=1" class="underline">1</a>' in shown
    [row] = operator.get("/admin/aggregation/update/", query).context["cl"].result_list
    assert (row.assignment.device_id, row.norm) == (culprit.id, 260.0)


def listed(operator, page, **query):
    answer = operator.get(f"/admin/{page}/", query)
    return [one.name for one in answer.context["cl"].result_list]


def test_the_lists_ask_no_more_the_more_outliers_there_are(operator):
    _, round_ = sent()
    with system_scope():
        assert finish(round_.id)
        Update.objects.update(accepted_at=timezone.now())

    def asked():
        with CaptureQueriesContext(connection) as captured:
            for page in ("clients/device/", "aggregation/update/?is_outlier__exact=1"):
                assert operator.get(f"/admin/{page}").status_code == 200
        return len(captured)

    asked()
    before = asked()
    with system_scope():
        Update.objects.update(is_outlier=True)
    assert asked() == before
