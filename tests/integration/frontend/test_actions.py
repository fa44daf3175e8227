"""Pausing, resuming and cancelling a job from its page."""

import pytest
from django.urls import reverse

from jobs.models import Job
from tenants.models import AuditEntry
from tenants.scopes import system_scope


def act(browser, world, action):
    address = reverse(f"frontend:job-{action}", args=[world.job.id])
    return browser.post(address, follow=True)


def status(world):
    with system_scope():
        return Job.objects.values_list("status", "outcome").get(id=world.job.id)


def test_it_pauses_resumes_and_cancels_and_says_what_came_of_it(world, browse):
    browser = browse(world.owner)
    assert "Paused. No new devices" in act(browser, world, "pause").content.decode()
    assert status(world) == ("paused", "")
    assert "Resumed." in act(browser, world, "resume").content.decode()
    assert status(world) == ("running", "")
    assert "Cancelled. Its devices" in act(browser, world, "cancel").content.decode()
    assert status(world) == ("finished", "cancelled")
    with system_scope():
        done = AuditEntry.objects.filter(actor="ada").values_list("action", flat=True)
        assert {"job.pause", "job.resume", "job.cancel"} <= set(done)


def test_it_says_so_when_nothing_was_changed(world, browse):
    answer = act(browse(world.owner), world, "resume")
    assert "Nothing was changed: the job is running" in answer.content.decode()


@pytest.mark.parametrize(("persona", "code"), [("viewer", 403), ("stranger", 404)])
@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_it_lets_only_those_act_who_may(world, browse, persona, code, action):
    answer = act(browse(getattr(world, persona)), world, action)
    assert answer.status_code == code
    assert status(world) == ("running", "")


def test_it_does_nothing_on_get(world, browse):
    address = reverse("frontend:job-cancel", args=[world.job.id])
    assert browse(world.owner).get(address).status_code == 405
