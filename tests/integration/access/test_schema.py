"""The API against its own description: schemathesis over every call, signed in."""

import random
from datetime import timedelta

import jsonschema
import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from clients import services as client_services
from core import knobs
from tenants.scopes import system_scope
from tests.integration import factories

EXAMPLES = 5
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance,
]  # fmt: skip


@pytest.fixture
def world(monkeypatch):
    """A tenant with one of most things, so that not every id is unknown."""
    monkeypatch.setenv("PROPIUS_ADMISSION_WAIT_S", "0.001")
    monkeypatch.setenv("PROPIUS_API_REQUESTS_PER_MINUTE", "1000000")
    monkeypatch.setenv("PROPIUS_ENROLMENTS_PER_MINUTE", "1000000")
    knobs.get.cache_clear()
    acme = factories.tenant()
    pool = factories.pool(acme)
    now = timezone.now()
    with system_scope():
        enrolment, _ = client_services.create_enrolment_token(
            pool=pool, name="x", max_uses=9, created_by="x", now=now,
            expires_at=now + timedelta(hours=1),
        )  # fmt: skip
    known = {
        "job_id": factories.job(acme).id, "pool_id": pool.id, "number": 0, "digest": "a" * 64,
        "device_id": factories.device(pool).id, "token_id": enrolment.id,
        "invitation_id": factories_id, "member_id": 0,
        "webhook_id": factories_id, "preview_id": factories_id, "assignment_id": factories_id,
    }  # fmt: skip
    known = {name: value if isinstance(value, int) else str(value) for name, value in known.items()}
    yield {"Authorization": f"Bearer {factories.token(acme)}"}, known
    knobs.get.cache_clear()


@pytest.mark.django_db(transaction=True)
# The stream is asynchronous; WSGI, which only this test uses, reads it whole.
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_every_call_keeps_to_its_description(description, world):
    headers, known = world
    schema = schemathesis.openapi.from_dict(description)
    schema.app = get_wsgi_application()
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _try(operation, mode, headers, known)


def _try(operation, mode, headers, known):
    choose = random.Random(7)

    @seed(7)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        if mode is GenerationMode.POSITIVE and case.path_parameters and choose.random() < 0.7:
            for name in case.path_parameters:
                case.path_parameters[name] = known[name]
        if case.path.endswith("/events"):
            case.query = {"follow": "false"}
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)
        if mode is GenerationMode.NEGATIVE and case.method == "POST":
            case.validate_response(response, checks=[checks.negative_data_rejection])

    try:
        run()
    except BaseException as error:
        # Some calls have nothing that could be wrong.
        if "Unsatisfiable" not in type(error).__name__:
            raise


@pytest.mark.django_db(transaction=True)
def test_a_query_of_another_kind_than_described_is_refused(description, world, client):
    headers, known = world
    wrong, tried = [], 0
    for path, calls in description["paths"].items():
        for one in calls.get("get", {}).get("parameters", []):
            schema = one["schema"]
            is_free = schema.get("type") == "string" and not {"enum", "format"} & set(schema)
            if one["in"] != "query" or is_free:
                continue
            answer = client.get(path.format(**known), {one["name"]: "ni!"}, headers=headers)
            tried += 1
            if answer.status_code not in (400, 404):
                wrong.append((path, one["name"], answer.status_code))
    assert wrong == []
    assert tried > 5


@pytest.mark.django_db(transaction=True)
def test_without_a_token_every_call_but_the_open_ones_is_refused(description, client):
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            if {} in call.get("security", [{}]) or not call.get("security"):
                continue
            address = path.format(
                job_id=factories_id, pool_id=factories_id, device_id=factories_id,
                token_id=factories_id, invitation_id=factories_id, member_id=0, number=0,
                webhook_id=factories_id, preview_id=factories_id, assignment_id=factories_id,
                digest="a" * 64,
            )  # fmt: skip
            answer = client.generic(method.upper(), address)
            assert answer.status_code == 401, (method, path)


factories_id = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_each_call_has_an_example_that_fits_its_description(description):
    assert description["openapi"].startswith("3.1")
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            answers = {s: one for s, one in call["responses"].items() if s[0] == "2"}
            for holder in (call.get("requestBody", {}), *answers.values()):
                for kind, media in holder.get("content", {}).items():
                    if kind == "application/octet-stream":
                        continue
                    assert media.get("example") is not None, (method, path, kind)
                    whole = {**media["schema"], "components": description["components"]}
                    jsonschema.validate(media["example"], whole)
            keyed = [one["name"] for one in call.get("parameters", [])]
            assert ("Idempotency-Key" in keyed) == (method == "post"), (method, path)
            assert ("If-None-Match" in keyed) == (method == "get"), (method, path)
            assert "Problem" in str(call["responses"]["default"]), (method, path)
