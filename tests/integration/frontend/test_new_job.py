"""A new job: the file, its dry run, its submission; and how many devices fit, as may be told."""

import html
import json

import pytest
from django.utils import timezone

from clients.models import Device
from jobs.models import Job
from scheduling import keys, refusals
from scheduling.models import TenantQuota
from tenants.models import AuditEntry
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.scheduling.test_planning import run

TOML = """
schema = 1
name = "from-toml"
parameters = "{digest}"
[workload]
kind = "handler"
handler = "train"
dataset = "digits"
[rounds]
count = 2
demand = 6
"""


def seen(pool, count, **attributes):
    devices = [factories.device(pool, **attributes) for _ in range(count)]
    with system_scope():
        Device.objects.filter(id__in=[one.id for one in devices]).update(seen_at=timezone.now())
    return devices


def press(browser, button, text):
    return browser.post("/jobs/new/", {"file": text, "do": button})


def jobs():
    with system_scope():
        return Job.objects.count()


def test_it_tries_a_file_and_writes_nothing(world, browse):
    seen(world.shared, 3)
    seen(world.private, 7)
    before = jobs()
    with system_scope():
        audited = AuditEntry.objects.count()
    answer = press(browse(world.owner), "dry-run", json.dumps(factories.spec()))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "The file is right" in page
    assert "It would start at once: with 6 devices a round." in page
    assert "8 to 11 of 8 to 11 known" in page  # 7 of one's own, and a few
    assert "at once, if no other job goes first" in page
    with system_scope():
        assert (Job.objects.count(), AuditEntry.objects.count()) == (before, audited)


def test_it_names_the_fields_that_are_wrong(world, browse):
    raw = factories.spec(rounds__demand=0, constraints={"public": {"wings": 2}})
    page = press(browse(world.owner), "dry-run", json.dumps(raw)).content.decode()
    assert "<code>rounds.demand</code>" in page
    page = press(
        browse(world.owner), "dry-run", json.dumps(factories.spec(parameters="f" * 64))
    ).content.decode()
    assert "<code>parameters</code>" in page
    assert "Devices that fit" in page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "the body is not JSON"),
        ("schema = ", "neither JSON"),
        ("at = 2026-01-01", "holds a date"),
        ("", "<code>"),
        ('{"a": "\\u0000"}', "holds a NUL"),
        ("x" * 200_001, "at most 200000"),
        pytest.param("a = " + "9" * 5000, "too many digits", id="digits"),
        pytest.param("a = 0x" + "f" * 5000, "too many digits", id="digits in hex"),
    ],
)
@pytest.mark.parametrize("button", ["dry-run", "submit"])
def test_it_says_what_is_wrong_with_a_file_that_cannot_be_read(world, browse, text, told, button):
    before = jobs()
    answer = press(browse(world.owner), button, text)
    assert told in answer.content.decode()
    assert answer.status_code in (200, 422)
    assert jobs() == before


def test_it_submits_toml_and_goes_to_the_jobs_page(world, browse):
    browser = browse(world.owner)
    answer = press(browser, "submit", TOML.format(digest="a" * 64))
    with system_scope():
        job = Job.objects.get(name="from-toml")
    assert answer.headers["Location"] == f"/jobs/{job.id}/"
    assert job.submitted_by == "ada"


def test_it_begins_with_a_job_to_clone_of_ones_own(world, browse):
    address = f"/jobs/new/?clone={world.job.id}"
    assert "digits-mlp" in browse(world.owner).get(address).content.decode()
    assert browse(world.stranger).get(address).status_code == 404
    assert browse(world.owner).get("/jobs/new/?clone=x").status_code == 404
    assert browse(world.viewer).get(address).status_code == 403
    page = browse(world.owner).get(f"/jobs/{world.job.id}/").content.decode()
    assert address in page


def test_it_says_what_admission_would_say(world, client):
    token = factories.token(world.tenant)
    headers = {"Authorization": f"Bearer {token}"}

    def rehearsed(**changes):
        body = json.dumps(factories.spec(**changes))
        answer = client.post(
            "/api/v1/jobs/dry-run", body, content_type="application/json", headers=headers
        )
        assert answer.status_code == 200
        return answer.json()

    seen(world.shared, 8)
    found = rehearsed(rounds__over_selection=1.25)
    assert (found["decision"], found["target"], found["fill_s"]) == ("admitted", 8, 0)
    assert found["fitting"]["online"] == {"least": 8, "most": 8}
    assert found["training"] is found["evaluation"] is None
    assert (found["round_s"], found["round_by"]) == (20, "deadline")
    found = rehearsed(rounds__demand=20)
    assert found["decision"] in ("queued", "rejected")
    assert found["code"] == "too_few_devices"
    assert "each round asks for at least 20" in found["reason"]
    found = rehearsed(rounds__demand=20, rounds__min_demand=6)
    assert (found["decision"], found["granted"]) == ("admitted", 8)
    held_out = {"every": 1, "demand": 5, "fraction": 0.25}
    found = rehearsed(evaluation=held_out)
    assert found["training"] == {"least": 6, "most": 6}
    assert found["evaluation"] == {"least": 2, "most": 2}
    assert found["reason"].endswith(
        "about 6 of them would train and 2 be held out for evaluation, which needs at least 5"
    )
    with system_scope():
        TenantQuota.objects.create(
            tenant=world.tenant, jobs=0, reason="x", updated_by="x", updated_at=timezone.now()
        )
    assert rehearsed()["code"] == "quota_jobs"
    assert jobs() == 1


def test_it_says_no_more_exactly_what_would_be_granted_than_how_many_fit(world, browse, client):
    headers = {"Authorization": f"Bearer {factories.token(world.tenant)}"}
    seen(world.shared, 3, memory_mb=1)
    seen(world.shared, 43, memory_mb=512)
    for demand, granted in ((100, "42 to 45"), (44, "42 to 44"), (43, "42 to 43")):
        raw = factories.spec(
            rounds__demand=demand, rounds__min_demand=5, rounds__over_selection=1.5,
            constraints={"public": {"memory_mb": 512}},
        )  # fmt: skip
        found = client.post(
            "/api/v1/jobs/dry-run", raw, content_type="application/json", headers=headers
        ).json()
        assert found["fitting"]["day"] == {"least": 42, "most": 45}
        assert (found["decision"], found["granted"], found["target"]) == ("admitted", 42, 63)
        assert found["reason"] == f"with {granted} of {demand} devices a round"
        page = press(browse(world.owner), "dry-run", json.dumps(raw)).content.decode()
        assert granted in page
        assert "It binds 63 devices" in page


def test_it_tells_how_devices_found_their_data_for_the_like(world, browse, client):
    """What is on a device is judged there: only devices that were asked can have said."""
    needs = {"x": {"dtype": "float32", "shape": [784]}}
    asking = factories.job(world.tenant, workload__needs=needs)
    other = factories.job(factories.tenant(), workload__needs=needs)
    said = {
        (str(asking.id), "dataset.x.shape"): {f"device {one}" for one in range(7)},
        (str(asking.id), "dataset"): {"device 8"},
        (str(asking.id), "consent"): {f"device {one}" for one in range(9)},
        (str(world.job.id), "dataset.x.shape"): {f"device {one}" for one in range(20)},
        (str(other.id), "dataset.x.shape"): {f"device {one}" for one in range(30)},
    }
    run(lambda door: refusals.note(door._redis, said, now=timezone.now()))

    page = press(
        browse(world.owner), "dry-run", json.dumps(factories.spec(workload__needs=needs))
    ).content.decode()
    assert "7 devices refused: their data set has another shape (dataset.x.shape)" in page
    assert "a few devices refused: they do not have the data set" in page
    assert "do not consent" not in page
    answer = client.post(
        "/api/v1/jobs/dry-run",
        json.dumps(factories.spec(workload__needs=needs)),
        content_type="application/json",
        headers={"Authorization": f"Bearer {factories.token(world.tenant)}"},
    )
    assert answer.json()["refusals"] == [
        {"code": "dataset.x.shape", "devices": 7},
        {"code": "dataset", "devices": None},
    ]


def test_it_tells_no_count_from_which_a_small_one_follows(world, client):
    headers = {"Authorization": f"Bearer {factories.token(world.tenant)}"}
    seen(world.shared, 20, os="linux", memory_mb=4000)
    seen(world.shared, 3, os="macos", memory_mb=4000)
    seen(world.private, 2, os="macos")

    def count(public, pools=()):
        body = json.dumps({"public": public, "pools": list(pools)})
        return client.post(
            "/api/v1/eligibility", body, content_type="application/json", headers=headers
        )

    found = count({"os": {"in": ["linux"]}}, ["fleet"]).json()
    assert found["devices"] == {"least": 23, "most": 23}
    assert found["known"] == {"least": 19, "most": 22}  # not 20: three are none
    assert count({"os": {"in": ["macos"]}}).json()["known"] == {"least": 3, "most": 6}
    assert count({"memory_mb": 9000}).json()["known"] == {"least": 0, "most": 0}
    refused = count({"wings": 2})
    assert refused.status_code == 422
    assert list(refused.json()["errors"]) == ["constraints.public.wings"]
    assert count({}, ["nowhere"]).json()["errors"].keys() == {"pools.0"}
    assert count({"os": {"max": "x"}}).json()["errors"].keys() == {"constraints.public.os"}


def test_it_tells_when_a_first_round_would_end_by_what_was_learnt(world, browse, redis):
    seen(world.shared, 8)
    text = json.dumps(factories.spec())
    page = html.unescape(press(browse(world.owner), "dry-run", text).content.decode())
    assert "Then it works for at most 20 s more: its deadline" in page
    learnt = {"times": {}, "last": [3.0, 12.0], "tasks": 0, "tasks_s": 0.0, "held_s": 0.0}
    redis.set(keys.learnt(world.job.id), json.dumps(learnt))
    page = html.unescape(press(browse(world.owner), "dry-run", text).content.decode())
    assert "Then it works for about 12 s more: as long as a round of your newest job" in page
