"""What the operator puts in quarantine is offered to no device, until it is lifted."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core.models import Event
from frontend import explanation, words
from jobs import selectors
from jobs import services as job_services
from jobs.models import Assignment, Job, Quarantine, Round
from scheduling import explaining, services
from scheduling.binding import Nothing
from tenants import scopes
from tenants.models import AuditEntry
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import Fleet

JOB, WORKLOAD, SDK = Quarantine.Kind.JOB, Quarantine.Kind.WORKLOAD, Quarantine.Kind.SDK
REASON = "it drains batteries"


def put(kind, target, at=NOW, reason=REASON):
    return job_services.put_in_quarantine(
        kind=kind, target=target, reason=reason, author="op", now=at
    )


@pytest.fixture
def fleet(redis):
    with scopes.system_scope():
        fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
        fleet.register()
        yield fleet


@pytest.fixture
def working(fleet):
    """Return a job whose round has one device of five."""
    job = factories.job(factories.tenant(), rounds__demand=5)
    services.plan(now=NOW)
    fleet.bind(1)
    return job


def explained(job):
    job.refresh_from_db()
    return explaining.explain(job, now=NOW)


@pytest.mark.parametrize("kind", [JOB, WORKLOAD])
def test_nothing_of_it_is_bound_until_it_is_lifted(working, fleet, kind):
    row = put(kind, str(working.id) if kind == JOB else "train")
    bound = Assignment.objects.get()
    assert (bound.status, bound.code) == (Assignment.Status.CANCELLED, "quarantined")
    assert bound.message.endswith(f"in quarantine: {REASON}")
    assert factories.open_round(working).assigned == 0
    granted = fleet.ask([fleet.device()])  # by the plan of before
    assert set(fleet.assign(granted).values()) == {"full"}
    services.plan(now=later(1))
    assert fleet.bind(3) == [Nothing()] * 3
    job_services.lift(quarantine_id=row.id, author="eve", now=later(2))
    services.plan(now=later(2))
    assert fleet.bind(3) == [str(factories.open_round(working).id)] * 3
    row.refresh_from_db()
    assert (row.lifted_by, row.lifted_at) == ("eve", later(2))
    kinds = Event.objects.filter(job_id=working.id, kind__in=["job.quarantined", "job.released"])
    assert list(kinds.order_by("id").values_list("kind", flat=True)) == [
        "job.quarantined", "job.released",
    ]  # fmt: skip


def test_others_go_on(working, fleet):
    other = factories.job(factories.tenant(), workload__handler="sort")
    put(WORKLOAD, "sort")
    other.refresh_from_db()
    working.refresh_from_db()
    assert other.held.endswith(REASON)
    assert working.held == ""
    assert Assignment.objects.get().status == Assignment.Status.BOUND


def test_a_job_of_the_workload_that_comes_later_is_held_before_its_first_round(fleet):
    put(WORKLOAD, "train")
    job = factories.job(factories.tenant())
    assert (job.status, bool(job.held)) == (Job.Status.RUNNING, True)
    assert Event.objects.filter(job_id=job.id, kind="job.quarantined").count() == 1
    services.plan(now=NOW)
    assert fleet.bind(1) == [Nothing()]


def test_no_round_fails_meanwhile_and_its_time_begins_anew_after(working):
    before = factories.open_round(working)
    window_s = before.selection_s
    row = put(JOB, str(working.id))
    for seconds in range(0, int(3 * window_s), max(1, int(window_s) - 4)):
        job_services.uphold(now=later(seconds))
        job_services.sweep(now=later(seconds))
    back = later(3 * window_s)
    job_services.lift(quarantine_id=row.id, author="op", now=back)
    round_ = factories.open_round(working)
    assert (round_.id, round_.status) == (before.id, Round.Status.SELECTING)
    assert (round_.selection_ends_at - back).total_seconds() == window_s


def test_nor_does_one_at_work_whose_job_its_owner_has_paused(working):
    Round.objects.filter(job=working).update(
        status=Round.Status.EXECUTING, executing_at=NOW, deadline_at=later(20)
    )
    job_services.pause(job_id=working.id, actor="owner", now=NOW)
    put(JOB, str(working.id))
    for seconds in range(0, 40, 4):
        job_services.uphold(now=later(seconds))
        job_services.sweep(now=later(seconds))
    assert factories.open_round(working).extensions == 0


def test_the_sweep_finds_what_the_change_missed(working):
    Quarantine.objects.create(
        kind=WORKLOAD, target="train", reason=REASON, author="op", created_at=NOW
    )
    job_services.uphold(now=later(1))
    assert Assignment.objects.get().status == Assignment.Status.CANCELLED
    assert explained(working).code == "quarantined"
    Quarantine.objects.update(lifted_at=NOW, lifted_by="op")
    job_services.uphold(now=later(2))
    assert explained(working).code == "waiting_for_devices"


def test_the_tenant_reads_the_reason_where_it_waits(working):
    put(JOB, str(working.id))
    found = explained(working)
    assert found.code == "quarantined"
    assert found.message == f"the operator has put this job in quarantine: {REASON}"
    [(term, sentence)] = explanation.facts(found)
    assert (term, sentence) == ("Quarantine", f"T{found.message[1:]}.")
    assert selectors.waiting(working).message == found.message
    state = words.state(working, None)
    assert (state.label, state.text) == ("Quarantined", sentence)


def test_a_wait_tells_of_software_in_quarantine_to_tenants_too(working):
    put(SDK, "acme 3")
    words = f"devices that run acme 3 in quarantine: {REASON}"
    assert words in explained(working).message
    with scopes.scope(working.tenant_id), connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE propius_app")
        assert words in explaining.quarantine.explained(selectors.waiting(working)).message
        assert [row.kind for row in Quarantine.objects.all()] == [SDK]
        mine = Quarantine(kind=SDK, target="b 1", reason="x", author="me", created_at=NOW)
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            mine.save()


def test_those_of_a_version_are_called_back_and_no_others(working, fleet):
    fleet.bind(1)
    first = Assignment.objects.order_by("id").first()
    first.device.sdk = "acme 3"
    first.device.save()
    put(SDK, "acme 3")
    by_status = dict(Assignment.objects.values_list("device__sdk", "status"))
    assert by_status == {"acme 3": "cancelled", "": "bound"}


def test_it_is_audited_for_the_operator_and_for_the_jobs_tenant(working):
    row = put(JOB, str(working.id))
    job_services.lift(quarantine_id=row.id, author="eve", now=later(1))
    job_services.again(quarantine_id=row.id, author="op", now=later(2))
    entries = AuditEntry.objects.filter(action__startswith="quarantine.").order_by("id")
    assert [(one.action, one.actor) for one in entries] == [
        ("quarantine.put", "op"), ("quarantine.lift", "eve"), ("quarantine.put", "op"),
    ]  # fmt: skip
    assert {one.tenant_id for one in entries} == {working.tenant_id}
    assert (
        entries[2].detail["reason"].startswith("back to the quarantine of 2026-01-02 03:04 UTC by")
    )


@pytest.mark.parametrize(
    ("kind", "target", "reason", "fields"),
    [
        ("fleet", "x", REASON, {"kind"}),
        (JOB, "x", " ", {"target", "reason"}),
        (JOB, "019b7c21-0000-7000-8000-000000000003", REASON, {"target"}),
        (WORKLOAD, "", REASON, {"target"}),
        (SDK, "0.1.0", REASON, {"target"}),
    ],
)
def test_it_says_what_is_wrong_by_field(fleet, kind, target, reason, fields):
    with pytest.raises(job_services.QuarantineInvalid) as refused:
        put(kind, target, reason=reason)
    assert set(refused.value.errors) == fields


def test_it_is_put_once_and_lifted_once(fleet):
    row = put(WORKLOAD, "train")
    with pytest.raises(job_services.QuarantineInvalid, match="already"):
        put(WORKLOAD, "train")
    job_services.lift(quarantine_id=row.id, author="op", now=NOW)
    with pytest.raises(job_services.QuarantineInvalid, match="was lifted by op"):
        job_services.lift(quarantine_id=row.id, author="op", now=NOW)


class TestConsole:
    @pytest.fixture
    def operator(self, client):
        client.force_login(User.objects.create_superuser("op"))
        return client

    def test_it_is_put_with_a_reason_and_lifted_and_put_back_with_one_click(self, operator, fleet):
        job = factories.job(factories.tenant())
        listed = operator.get("/admin/jobs/job/").content.decode()
        link = f"/admin/jobs/quarantine/add/?kind=job&amp;target={job.id}"
        assert link in listed
        form = operator.get(link.replace("&amp;", "&")).content.decode()
        assert f'value="{job.id}"' in form
        fields = {"kind": "job", "target": str(job.id), "reason": REASON}
        assert operator.post("/admin/jobs/quarantine/add/", fields).status_code == 302
        row = Quarantine.objects.get()
        click = f"/admin/jobs/quarantine/{row.id}/revert/"
        page = operator.get("/admin/jobs/quarantine/").content.decode()
        assert click in page
        assert ">Lift</button>" in page
        assert operator.get(click).status_code == 405
        assert b"offered to devices again" in operator.post(click, follow=True).content
        job.refresh_from_db()
        assert job.held == ""
        assert b"in quarantine again" in operator.post(click, follow=True).content
        assert b"Nothing was changed" in operator.post(click, follow=True).content
        job.refresh_from_db()
        assert job.held

    def test_a_fault_is_told_and_who_only_looks_lifts_nothing(self, operator, fleet, client):
        wrong = {"kind": "sdk", "target": "0.1", "reason": REASON}
        answer = operator.post("/admin/jobs/quarantine/add/", wrong, follow=True)
        assert b"a name and a version" in answer.content
        row = put(WORKLOAD, "train")
        client.force_login(User.objects.create_user("looker", is_staff=True))
        assert client.post(f"/admin/jobs/quarantine/{row.id}/revert/").status_code == 403

    def test_the_list_costs_as_many_queries_whatever_its_length(self, operator, fleet):
        def cost():
            with CaptureQueriesContext(connection) as queries:
                assert operator.get("/admin/jobs/quarantine/").status_code == 200
            return len(queries)

        put(WORKLOAD, "one")
        first = cost()
        for number in range(9):
            put(WORKLOAD, f"more-{number}")
        assert cost() == first
