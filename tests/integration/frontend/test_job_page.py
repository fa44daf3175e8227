"""A job's versions, rounds and events, and what the operator's maintenance does to it."""

import pytest
from django.urls import reverse

from aggregation.models import ModelVersion
from core import events
from jobs import services as job_services
from jobs.models import Assignment, Round
from tenants.models import AuditEntry
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def versions(world):
    """Three versions that are kept, and one that retention has let go."""
    measured = {1: (0.5, 3.0), 2: (0.9, 1.0), 3: (0.7, 2.0), 4: (0.6, 2.5)}
    with system_scope():
        for number, (accuracy, drift) in measured.items():
            ModelVersion.objects.create(
                tenant=world.tenant, job=world.job, number=number, digest="a" * 64, size_bytes=1,
                evaluation={"accuracy": accuracy, "zeal": drift}, metrics={"grad_error": drift},
                created_at=factories.NOW, released_at=factories.NOW if number == 4 else None,
            )  # fmt: skip


def show(browser, world, query=""):
    return browser.get(reverse("frontend:job", args=[world.job.id]) + query)


def best(answer):
    return [line.number for line in answer.context["kept"].lines if line.is_best]


def pin(browser, world, number, *, query="", **form):
    address = reverse("frontend:version-pin", args=[world.job.id, number])
    return browser.post(address + query, form, follow=True)


def end(world, status, code, times=1, message=""):
    """End assignments of the open round, as the services do."""
    for _ in range(times):
        device = factories.device(world.shared)
        with system_scope():
            one = Assignment.objects.create(
                tenant=world.tenant, job=world.job, round=world.round, device=device,
                status=status, code=code, message=message, bound_at=factories.NOW,
                lease_expires_at=factories.later(30),
            )  # fmt: skip
            events.append(
                f"assignment.{status}", now=factories.NOW, tenant_id=world.tenant.id,
                job_id=world.job.id, round_id=world.round.id, assignment_id=one.id, code=code,
            )  # fmt: skip


@pytest.mark.usefixtures("versions")
def test_it_marks_the_best_version_by_the_metric_that_was_named(world, browse):
    browser = browse(world.viewer)
    assert best(show(browser, world)) == [2]  # by accuracy
    by_name = show(browser, world, "?best=grad_error")
    assert best(by_name) == [2]  # an error: the lowest
    assert "grad_error <small>(training)</small>" in by_name.content.decode()
    guessed = show(browser, world, "?best=zeal")
    assert best(guessed) == [1]
    assert "does not say which is better; the highest is taken" in guessed.content.decode()
    assert best(show(browser, world, "?best=zeal&order=lowest")) == [2]
    unknown = show(browser, world, "?best=nothing")
    assert best(unknown) == [2]
    assert "has a measure named" in unknown.content.decode()


@pytest.mark.usefixtures("versions")
def test_it_pins_and_unpins_a_version_and_says_so(world, browse):
    browser = browse(world.owner)
    answer = pin(browser, world, 2, query="?by=time", pinned="yes")
    assert answer.redirect_chain[-1][0] == f"/jobs/{world.job.id}/?by=time"
    page = answer.content.decode()
    assert "Version 2 is pinned: it stays until it is unpinned." in page
    assert "Unpin" in page
    page = pin(browser, world, 2, pinned="no").content.decode()
    assert "Version 2 is unpinned" in page
    with system_scope():
        assert not ModelVersion.objects.filter(pinned=True).exists()
        assert AuditEntry.objects.filter(action="version.pin", actor="ada").count() == 2
    gone = pin(browser, world, 4, pinned="yes").content.decode()
    assert "Nothing was changed: version 4 is not kept any more." in gone


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(("persona", "code"), [("viewer", 403), ("stranger", 404)])
def test_it_lets_only_those_pin_who_may(world, browse, persona, code):
    browser = browse(getattr(world, persona))
    assert pin(browser, world, 2, pinned="yes").status_code == code
    with system_scope():
        assert not ModelVersion.objects.filter(pinned=True).exists()
    assert 'id="pin-2"' not in show(browse(world.viewer), world).content.decode()


def test_it_tells_events_in_words_newest_first_and_by_page(world, browse):
    browser = browse(world.viewer)
    answer = show(browser, world)
    assert [line.text for line in answer.context["detail"].events.lines] == [
        "Round 1 opened: devices are selected.",
        "Admitted.",
        "Submitted; its program is checked, then it is admitted.",
    ]
    assert not answer.context["detail"].events.older
    with system_scope():
        for number in range(30):
            events.append(
                "job.demand_granted", now=factories.later(number), tenant_id=world.tenant.id,
                job_id=world.job.id, demand=number,
            )  # fmt: skip
        events.append("job.new_kind", now=factories.later(40), tenant_id=world.tenant.id,
                      job_id=world.job.id)  # fmt: skip
    first = show(browser, world).context["detail"].events
    assert [line.text for line in first.lines[:2]] == [
        "Job: new kind.", "Its rounds now ask for 29 devices.",
    ]  # fmt: skip
    second = show(browser, world, first.older).context["detail"].events
    assert second.lines[-1].text.startswith("Submitted")
    assert {line.id for line in first.lines}.isdisjoint(line.id for line in second.lines)
    assert len(first.lines) + len(second.lines) == 34
    assert (second.newest, second.older) == ("?", "")


def test_it_says_so_where_nothing_has_happened(world, browse):
    page = show(browse(world.viewer), world, "?before=0").content.decode()
    assert "Nothing happened before that." in page
    assert 'id="events-newest"' in page


def test_it_tells_who_was_late_and_who_failed_and_why(world, browse):
    end(world, "declined", "consent", times=2)
    end(world, "declined", "condition", times=5)
    end(world, "failed", "training_failed")
    end(world, "expired", "lease_expired")
    end(world, "cancelled", "round_closed")
    answer = show(browse(world.viewer), world)
    [line] = answer.context["detail"].rounds.lines
    assert (line.late, line.failed) == (2, 8)
    told = "\n".join(line.endings)
    assert "5 declined: their owners&#x27; conditions did not hold" in answer.content.decode()
    # Of a few devices in shared pools it is not told how many decline.
    assert "fewer than 5 declined: their owners do not consent" in told
    assert "1 went silent: d-" in told
    assert "1 failed in training: d-" in told
    log = [line.text for line in answer.context["detail"].events.lines]
    assert log[1] == "Round 1, devices: 1 went silent."
    assert "Round 1, devices: fewer than 5 declined: their owners do not consent." in log


def test_it_tells_it_without_names_when_the_devices_have_been_forgotten(world, browse):
    end(world, "failed", "training_failed", times=2)
    end(world, "expired", "lease_expired")
    with system_scope():
        job_services.forget_assignments([world.round.id])
        assert not Assignment.objects.exists()
    [line] = show(browse(world.viewer), world).context["detail"].rounds.lines
    assert (line.late, line.failed) == (1, 2)
    assert line.endings == ["2 failed in training", "1 went silent"]


def test_it_tells_small_counts_of_pools_of_ones_own(world, browse):
    with system_scope():
        spec = world.job.spec
        spec["effective"]["pools"] = [str(world.private.id)]
        world.job.save()
    end(world, "declined", "consent", times=2)
    [line] = show(browse(world.viewer), world).context["detail"].rounds.lines
    assert line.endings == ["2 declined: their owners do not consent"]


@pytest.mark.parametrize("status", ["declined", "failed"])
def test_it_quotes_no_device_of_a_shared_pool(world, browse, status):
    end(world, status, "consent", message="eve has 3 records")
    browser = browse(world.viewer)
    assert "eve has 3 records" not in show(browser, world).content.decode()
    with system_scope():
        spec = world.job.spec
        spec["effective"]["pools"] = [str(world.private.id)]
        world.job.save()
    assert "eve has 3 records" in show(browser, world).content.decode()


def test_it_draws_a_round_that_never_had_its_devices_as_selecting(world, browse):
    with system_scope():
        job_services.fail_round(
            round_id=world.round.id, code="too_few_devices", message="0 of 6",
            now=factories.later(20),
        )  # fmt: skip
    failed = show(browse(world.viewer), world).context["detail"].rounds.lines[1]
    drawn = [(piece.kind, piece.text) for piece in failed.pieces]
    assert drawn == [("selecting", "selecting 20 s")]


def test_it_draws_the_phase_that_a_round_is_in(world, browse):
    with system_scope():
        Round.objects.filter(id=world.round.id).update(
            status="executing", executing_at=factories.later(10), deadline_at=factories.later(90)
        )
    [line] = show(browse(world.viewer), world).context["detail"].rounds.lines
    assert [piece.kind for piece in line.pieces] == ["selecting", "executing"]
    assert line.pieces[0].text == "selecting 10 s"
    assert line.pieces[1].text.startswith("executing for ")


@pytest.mark.parametrize(
    ("status", "mode", "is_held"),
    [
        ("selecting", "paused", True),
        ("executing", "paused", False),
        ("executing", "stopped", True),
        ("aggregating", "stopped", False),
    ],
)
def test_it_says_that_the_operator_holds_it(world, browse, status, mode, is_held):
    with system_scope():
        Round.objects.filter(id=world.round.id).update(
            status=status, executing_at=factories.NOW, deadline_at=factories.later(90)
        )
        job_services.set_maintenance(
            mode=mode, reason="new racks", author="root", now=factories.NOW
        )
    browser = browse(world.viewer)
    page = show(browser, world).content.decode()
    assert ("Held for maintenance" in page) == is_held
    assert ("new racks" in page) == is_held
    assert ("no round fails by it" in page) == is_held
    assert ("new racks" in browser.get("/jobs/").content.decode()) == is_held


def test_it_pages_through_rounds(world, browse, finished_rounds):
    finished_rounds(world.job, 2, 40)
    browser = browse(world.viewer)
    first = show(browser, world).context["detail"].rounds
    assert (len(first.lines), first.earlier_count, first.newest) == (12, 67, "")
    second = show(browser, world, first.earlier).context["detail"].rounds
    third = show(browser, world, second.earlier).context["detail"].rounds
    assert (len(second.lines), len(third.lines), third.earlier) == (50, 17, "")
    assert third.lines[-1].number == 1
    assert len({one.id for page in (first, second, third) for one in page.lines}) == 79
    beyond = show(browser, world, "?rounds=99999999999").content.decode()
    assert "There are no rounds before that." in beyond


def test_each_open_round_shows_devices_those_at_work_first_and_says_how_many_more(world, browse):
    with system_scope():
        evaluation = Round.objects.get(id=world.round.id)
        evaluation.pk, evaluation.kind = None, "evaluate"
        evaluation._state.adding = True
        evaluation.save()
        for opened, count in ((world.round, 103), (evaluation, 2)):
            made = [factories.device(world.shared) for _ in range(count)]
            Assignment.objects.bulk_create(
                Assignment(
                    tenant_id=opened.tenant_id, job_id=opened.job_id, round=opened, device=device,
                    status="bound" if at == count - 1 else "reported", bound_at=factories.NOW,
                    lease_expires_at=factories.NOW,
                )
                for at, device in enumerate(made)
            )  # fmt: skip
    answer = browse(world.viewer).get(f"/jobs/{world.job.id}/")
    train, evaluate = answer.context["detail"].open_rounds
    assert (len(train.devices), train.more) == (100, 3)
    assert (len(evaluate.devices), evaluate.more) == (2, 0)
    assert [one.status for one in train.devices[:2]] == ["bound", "reported"]
    assert "And 3 more; those at work come first." in answer.content.decode()


def test_versions_come_in_pages_and_the_best_of_all_is_a_click_away(world, browse):
    with system_scope():
        for number in range(1, 56):
            ModelVersion.objects.create(
                tenant=world.tenant, job=world.job, number=number, digest="a" * 64, size_bytes=1,
                evaluation={"accuracy": 1 / number}, created_at=factories.NOW,
            )  # fmt: skip
    browser = browse(world.viewer)
    first = show(browser, world)
    kept = first.context["kept"]
    assert [line.number for line in kept.lines] == list(range(55, 5, -1))
    assert (kept.best, kept.best_address, kept.older) == (1, "?versions=2", "?versions=2")
    assert "The best by accuracy is version 1" in first.content.decode()
    second = show(browser, world, "?versions=2")
    assert [line.number for line in second.context["kept"].lines] == [5, 4, 3, 2, 1]
    assert best(second) == [1]
    assert len(show(browser, world, "?versions=99").context["kept"].lines) == 5


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("", ["declined", "Round 1 failed", "Round 1 opened", "Admitted"]),
        ("rounds", ["Round 1 failed", "Round 1 opened"]),
        ("devices", ["declined"]),
        ("problems", ["Round 1 failed"]),
    ],
)
def test_the_log_is_narrowed_to_a_part(world, browse, part, told):
    with system_scope():
        for kind in ("round.failed", "assignment.declined"):
            events.append(
                kind, now=factories.NOW, tenant_id=world.tenant.id, job_id=world.job.id,
                round_id=world.round.id,
            )  # fmt: skip
    answer = show(browse(world.viewer), world, f"?log={part}&before=999999999")
    lines = [line.text for line in answer.context["detail"].events.lines]
    assert all(word in line for word, line in zip(told, lines, strict=False)), lines
    assert len(lines) >= len(told) if not part else len(lines) == len(told)
    text = answer.content.decode()
    assert f"propius job logs {world.job.id} --follow" in text
    assert f'id="log-{part or "all"}"' in text
