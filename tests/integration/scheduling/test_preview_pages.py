"""The console's preview: a proposal, its progress, both sides, and put in force."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from core import connections
from scheduling import keys, previews, tasks
from scheduling.models import ProfileRecord, SharingPolicy, TenantShare
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.scheduling.test_recording import recorded_hour

POLLS = 'hx-select="#preview"'
FORM = "/admin/scheduling/sharingpolicy/preview/"


@pytest.fixture(autouse=True)
def system(db):
    with system_scope():
        yield


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("op"))
    return client


def ask(operator, **changes):
    fields = {"policy": "srsf", "parameters": "", "hours": "1.1"} | changes
    answer = operator.post(FORM, fields)
    assert answer.status_code == 302, answer.content
    return answer.url


def worked(page):
    tasks.preview(page.rstrip("/").rpartition("/")[2])


def text(answer):
    return " ".join(answer.content.decode().split())


def test_a_policy_is_previewed_compared_and_applied_with_a_reason(operator):
    large, _ = recorded_hour(timezone.now())
    listed = text(operator.get("/admin/scheduling/sharingpolicy/"))
    assert "Preview a change" in listed
    assert operator.get("/admin/scheduling/sharingpolicy/preview-first", follow=True).redirect_chain
    page = ask(operator)
    waiting = text(operator.get(page))
    assert "Waiting for a worker: step 1 of 3" in waiting
    assert POLLS in waiting
    worked(page)
    shown = text(operator.get(page))
    assert POLLS not in shown
    assert "The srsf policy would end jobs" in shown
    assert "In force: fair" in shown
    assert "Mean wait of a round for its devices, by tenant" in shown
    assert large.tenant.slug in shown
    assert "Only 2 jobs and 60 minutes were recorded" in shown
    before = SharingPolicy.objects.count()
    assert "This field is required" in text(operator.post(page, {"reason": ""}))
    assert SharingPolicy.objects.count() == before
    done = operator.post(page, {"reason": "the preview"}, follow=True)
    assert "The srsf policy is in force." in text(done)
    chosen = SharingPolicy.objects.latest()
    assert (chosen.name, chosen.author, chosen.reason) == ("srsf", "op", "the preview")


def test_a_share_is_previewed_and_applied(operator):
    large, _ = recorded_hour(timezone.now())
    slug = large.tenant.slug
    page = ask(operator, policy="", tenant=slug, weight="2", guarantee="2", ceiling="5")
    worked(page)
    shown = text(operator.get(page))
    assert f"The share of {slug} would end jobs" in shown
    assert f"Tenant {slug} would wait" in shown
    again = operator.get(f"{FORM}?of={page.rstrip('/').rpartition('/')[2]}").content.decode()
    assert 'name="ceiling" value="5"' in again
    assert operator.post(page, {"reason": "fairer"}).status_code == 302
    share = TenantShare.objects.get(tenant=large.tenant_id)
    assert (share.weight, share.guarantee, share.ceiling) == (2, 2, 5)


def test_progress_is_told_and_a_missing_worker_too(operator):
    page = ask(operator)
    preview_id = page.rstrip("/").rpartition("/")[2]
    client, key = connections.soft_state(), keys.preview(preview_id)
    for phase, words in (("present", "what is in force"), ("proposed", "the proposal")):
        found = client.get(key).decode()
        assert '"phase"' not in found
        client.set(key, found[:-1] + f', "phase": "{phase}"' + "}")
        assert f"Replaying {words}" in text(operator.get(page))
        client.set(key, found)
    long_ago = found.replace(f'"now": "{timezone.now().year}', '"now": "2001')
    client.set(key, long_ago)
    assert "is worker-batch running?" in text(operator.get(page))


def test_it_says_what_to_do_where_nothing_was_recorded(operator):
    page = ask(operator)
    worked(page)
    shown = text(operator.get(page))
    assert "no check-in or no round was recorded" in shown
    assert "more hours back" in shown
    assert POLLS not in shown


def test_a_preview_that_crashes_says_so(operator):
    recorded_hour(timezone.now())
    ProfileRecord.objects.update(profile={})  # as no release of ours has written it
    page = ask(operator)
    worked(page)
    shown = text(operator.get(page))
    assert "it crashed (KeyError); see the log of worker-batch" in shown
    assert POLLS not in shown


def test_of_a_policy_in_force_that_is_gone_it_replays_the_default(operator):
    recorded_hour(timezone.now())
    SharingPolicy.objects.create(
        name="gone", parameters={}, author="op", reason="x", created_at=timezone.now()
    )
    page = ask(operator)
    worked(page)
    assert "In force: fair" in text(operator.get(page))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"policy": ""}, "Choose a policy, or a tenant whose share changes."),
        ({"hours": "0"}, "above 0 and up to 168 is allowed"),
        ({"policy": "fifo", "parameters": '{"speed": 1}'}, "takes no parameters"),
        ({"parameters": "[1]"}, "a JSON object is allowed"),
        ({"policy": "", "parameters": '{"a": 1}', "tenant": "acme"}, "name the policy"),
        ({"tenant": "acme", "guarantee": "9", "ceiling": "7"}, "at least the guarantee (9)"),
    ],
)
def test_faults_show_beside_their_fields(operator, changes, fault):
    factories.tenant("acme")
    answer = operator.post(FORM, {"policy": "srsf", "parameters": "", "hours": "6"} | changes)
    assert answer.status_code == 200
    assert fault in text(answer)


def test_one_who_only_looks_previews_and_applies_nothing(operator, client):
    page = ask(operator)
    client.force_login(User.objects.create_user("looker", is_staff=True))
    assert client.get(FORM).status_code == 403
    assert client.post(page, {"reason": "x"}).status_code == 403
    client.force_login(User.objects.create_superuser("other"))
    unknown = page.replace(page.rstrip("/").rpartition("/")[2], str(factories.tenant().id))
    assert client.get(unknown).status_code == 404


def test_tiers_are_told_of(operator):
    recorded_hour(timezone.now())
    page = ask(operator, policy="irs", parameters='{"tiers": 2}')
    worked(page)
    assert "Speed tiers are not replayed" in text(operator.get(page))


def test_a_share_needs_the_right_to_set_shares(operator, client):
    tenant = factories.tenant()
    page = ask(operator, policy="", tenant=tenant.slug)
    from django.contrib.auth.models import Permission

    half = User.objects.create_user("half", is_staff=True)
    half.user_permissions.add(Permission.objects.get(codename="add_sharingpolicy"))
    client.force_login(half)
    assert client.post(page, {"reason": "x"}).status_code == 403
    assert not TenantShare.objects.exists()
    assert previews.answer(page.rstrip("/").rpartition("/")[2]).preview is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (r'{"within": "\ud800"}', "half of a surrogate pair"),
        (r'{"within": "\u0000"}', "holds a NUL"),
        ('{"max_wait_s": NaN}', "NaN"),
        ("[" * 100_000, "nested deeper than 32"),
        ('{"within": ', "Enter a valid JSON"),
    ],
    ids=["surrogate", "NUL", "NaN", "deep", "cut"],
)
@pytest.mark.parametrize("form", [FORM, "/admin/scheduling/sharingpolicy/add/"])
def test_what_no_column_can_hold_is_told_beside_the_field(operator, form, parameters, words):
    before = SharingPolicy.objects.count()
    asked = {"policy": "fair", "name": "fair", "parameters": parameters, "reason": "try"}
    answer = operator.post(form, asked | {"hours": "1"})
    assert answer.status_code == 200
    assert words in text(answer)
    assert SharingPolicy.objects.count() == before
