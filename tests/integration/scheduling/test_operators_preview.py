"""`propius policy preview` and the calls behind it: an operator asks, a worker answers."""

import base64

import httpx
import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from propius.http_errors import ApiError
from propius.operators import Operator
from scheduling import tasks
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.scheduling.test_recording import recorded_hour

ASK = "/api/v1/policy/previews"
PASSWORD = "correct horse"


def basic(name, password=PASSWORD):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def operator(db):
    User.objects.create_superuser("op", password=PASSWORD)
    return Client(headers=basic("op"))


def ask(client, **proposal):
    return client.post(ASK, proposal, content_type="application/json")


def test_an_operator_asks_by_password_and_reads_both_sides_in_the_session_that_it_opened(operator):
    with system_scope():
        slug = recorded_hour(timezone.now())[0].tenant.slug
    shares = {slug: {"weight": 2, "guarantee": 1}}
    asked = ask(operator, policy="srsf", hours=1.1, shares=shares)
    assert (asked.status_code, asked.json()["phase"]) == (202, "asked")
    later = Client()
    later.cookies = operator.cookies
    tasks.preview(asked.json()["id"])
    found = later.get(asked.headers["Location"]).json()
    assert (found["phase"], found["fault"]) == ("proposed", "")
    assert found["preview"]["proposed"]["policy"] == "srsf"
    tenants = [one["tenant"] for one in found["preview"]["present"]["tenants"]]
    assert slug in tenants


def test_a_preview_of_which_nothing_was_recorded_tells_so(operator):
    asked = ask(operator)
    tasks.preview(asked.json()["id"])
    assert "recorded" in operator.get(asked.headers["Location"]).json()["fault"]


def test_a_proposal_that_makes_no_sense_is_refused_by_field(operator):
    answer = ask(operator, policy="best", shares={"nobody": {"weight": 0}})
    assert answer.status_code == 400
    assert {"policy", "shares.nobody", "shares.nobody.weight"} <= answer.json()["errors"].keys()
    wrong = ask(operator, policy="srsf", parameters={"patience": 1})
    assert wrong.json()["errors"].keys() == {"parameters.patience"}
    assert ask(operator, polcy="srsf").json()["errors"].keys() == {"polcy"}


def test_only_an_operator_who_may_choose_the_policy_may_ask(operator):
    staff = User.objects.create_user("desk", password=PASSWORD, is_staff=True)
    desk = Client(headers=basic("desk"))
    assert ask(desk).status_code == 403
    with system_scope():
        staff.user_permissions.add(Permission.objects.get(codename="add_sharingpolicy"))
    assert ask(desk).status_code == 202
    assert ask(Client(headers=basic("op", "wrong"))).status_code == 401
    token = {"Authorization": f"Bearer {factories.token(factories.tenant())}"}
    assert ask(Client(headers=token)).status_code == 401


def test_a_password_is_guessed_here_as_rarely_as_at_the_sign_in_page(operator):
    guesses = [ask(Client(headers=basic("op", f"guess {i}"))).status_code for i in range(11)]
    assert guesses == [401] * 10 + [429]


def test_the_same_key_asks_once(operator):
    first, again = (
        operator.post(ASK, {}, content_type="application/json", headers={"Idempotency-Key": "k"})
        for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]


def platform(request):
    """Answer as the platform whose worker has previewed what was asked for before anybody looks."""
    answer = Client().generic(
        request.method, request.url.path, request.content, "application/json",
        headers=dict(request.headers),
    )  # fmt: skip
    if answer.status_code == 202:
        tasks.preview(answer.json()["id"])
    cookies = [("Set-Cookie", one.OutputString()) for one in answer.cookies.values()]
    headers = [*answer.headers.items(), *cookies]
    return httpx.Response(answer.status_code, headers=headers, content=answer.content)


def test_the_sdk_waits_for_the_answer_and_says_why_there_is_none(operator):
    def preview(proposal):
        transport = httpx.MockTransport(platform)
        with Operator("http://testserver", "op", PASSWORD, transport=transport) as me:
            return me.preview(proposal, every_s=0)

    with pytest.raises(ApiError, match="recorded"):
        preview({"hours": 1})
    with system_scope():
        recorded_hour(timezone.now())
    found = preview({"policy": "srsf", "hours": 1.1})
    assert (found["present"]["policy"], found["proposed"]["policy"]) == ("fair", "srsf")
