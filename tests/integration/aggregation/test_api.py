"""Programs, parameters and versions over REST, for owner, teammate and stranger."""

import json

import numpy as np
import pytest
from asgiref.sync import async_to_sync

from aggregation import artifacts, blobs, checking, retention
from jobs.models import Artifact
from propius import arrays
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.aggregation.test_rounds import finish
from tests.integration.aggregation.worlds import BASE, make_world, send
from tests.integration.factories import NOW

FILE = arrays.save(BASE)
BINARY = "application/octet-stream"


@pytest.fixture
def people(client):
    """Call the API as the owner, a viewer of the same tenant, or a stranger."""
    acme, other = factories.tenant(), factories.tenant()
    return Caller(client, acme, other)


class Caller:
    def __init__(self, client, tenant, other):
        self.client, self.tenant = client, tenant
        self.secrets = {
            "owner": factories.token(tenant),
            "viewer": factories.token(tenant, "models:read"),
            "stranger": factories.token(other),
        }

    def headers(self, who):
        return {"Authorization": f"Bearer {self.secrets[who]}"} if who in self.secrets else {}

    def get(self, who, path):
        return self.client.get(f"/api/v1/{path}", headers=self.headers(who))

    def post(self, who, path, body, kind=BINARY):
        return self.client.post(
            f"/api/v1/{path}", body, content_type=kind, headers=self.headers(who)
        )


def test_parameters_are_kept_once_and_shown_to_their_tenant_only(people):
    made = people.post("owner", "parameters", FILE)
    assert made.status_code == 201
    body = made.json()
    assert (body["status"], body["size_bytes"]) == ("valid", len(FILE))
    assert body["tensors"]["weight"] == {"dtype": "F32", "shape": [2, 2]}
    assert people.post("owner", "parameters", FILE).json() == body
    path = f"parameters/{body['digest']}"
    assert people.get("viewer", path).json() == body
    assert [one["digest"] for one in people.get("viewer", "parameters").json()["results"]] == [
        body["digest"]
    ]
    assert people.get("stranger", path).status_code == 404
    assert people.get("stranger", "parameters").json()["results"] == []
    assert people.get("nobody", path).status_code == 401
    assert people.post("viewer", "parameters", FILE).status_code == 403
    assert people.get("owner", f"programs/{body['digest']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field", "text"),
    [
        (b"short", "header", "no safetensors file"),
        (b"PK\x03\x04....................", "header", "safetensors"),
        (arrays.save({"w": np.array([np.nan], np.float32)}), "tensors.w", "NaN"),
        (arrays.save({"n": np.array([1])}), "tensors", "no tensor has a float dtype"),
    ],
)
def test_a_file_that_is_no_model_is_refused_and_not_kept(people, body, field, text):
    refused = people.post("owner", "parameters", body)
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "bad_parameters"
    assert text in refused.json()["errors"][field]
    assert people.get("owner", "parameters").json()["results"] == []
    assert not list(blobs.store().digests())
    assert not list(blobs.store().incoming.iterdir())


def test_a_file_over_the_cap_is_refused(people, monkeypatch):
    from core import knobs

    monkeypatch.setenv("PROPIUS_MAX_PARAMETERS_BYTES", "100")
    knobs.get.cache_clear()
    refused = people.post("owner", "parameters", FILE)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


def test_the_body_is_the_file_itself(people):
    refused = people.post("owner", "parameters", json.dumps({"file": 1}), "application/json")
    assert refused.status_code == 415
    assert BINARY in refused.json()["detail"]


@pytest.mark.parametrize("body", [b"short", b"\x80\x04pickle", FILE])
def test_a_file_that_is_no_program_is_refused_and_not_kept(people, body):
    refused = people.post("owner", "programs", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_program_container")
    assert "file" in refused.json()["errors"]
    assert not list(blobs.store().digests())


def test_a_program_is_checked_in_a_child_before_a_job_may_use_it(people):
    made = people.post("owner", "programs", linear_program())
    assert (made.status_code, made.json()["status"]) == (201, "checking")
    digest = made.json()["digest"]
    with system_scope():
        checking.check_program(tenant_id=people.tenant.id, digest=digest, now=NOW)
        checking.check_program(tenant_id=people.tenant.id, digest=digest, now=NOW)
    shown = people.get("viewer", f"programs/{digest}").json()
    assert (shown["status"], shown["errors"]) == ("valid", {})
    assert shown["tensors"]["weight"]["rule"] == "mean"
    assert people.get("stranger", f"programs/{digest}").status_code == 404


@pytest.mark.parametrize("kind", ["parameters", "programs"])
@pytest.mark.parametrize("digest", ["%00", "a" * 63 + "%00", "A" * 64, "a" * 64 + "%0A", "latest"])
def test_what_is_no_digest_is_not_found(people, kind, digest):
    missing = people.get("owner", f"{kind}/{digest}")
    assert (missing.status_code, missing.json()["code"]) == (404, "artifact_unknown")


def linear_program():
    import torch

    from propius import program

    model = torch.nn.Linear(4, 3)
    batch = {"x": torch.zeros(2, 4), "y": torch.zeros(2, dtype=torch.int64)}
    exported = program.export(model, torch.nn.functional.cross_entropy, batch)
    return exported.program


@pytest.fixture
def trained(client):
    """A job with versions 0 and 1, and a caller of its tenant."""
    world = make_world()
    round_ = world.round()
    for bound in world.bind(round_):
        send(*bound, 2.0, loss=0.5)
    with system_scope():
        assert finish(round_.id)
    return world, Caller(client, world.tenant, factories.tenant())


def test_versions_are_listed_newest_first_to_their_tenant_only(trained):
    world, people = trained
    path = f"jobs/{world.job.id}/versions"
    found = people.get("viewer", path).json()["results"]
    assert [one["number"] for one in found] == [1, 0]
    assert (found[0]["metrics"], found[0]["reports"]) == ({"loss": 0.5}, 6)
    assert people.get("stranger", path).status_code == 404
    assert people.get("nobody", path).status_code == 401


def download(people, who, path, **headers):
    """Over the asynchronous handler, as under uvicorn; returns the answer and its body."""

    @async_to_sync
    async def call():
        from django.test import AsyncClient

        found = await AsyncClient().get(f"/api/v1/{path}", headers=people.headers(who) | headers)
        if not found.streaming:
            return found, found.content
        return found, b"".join([chunk async for chunk in found])

    return call()


@pytest.mark.django_db(transaction=True)
def test_a_version_is_downloaded_as_a_safetensors_file(trained):
    world, people = trained
    path = f"jobs/{world.job.id}/versions"
    newest, body = download(people, "viewer", f"{path}/latest/download")
    assert newest.status_code == 200
    assert arrays.load(body)["weight"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert newest.headers["Content-Length"] == str(len(body))
    assert newest.headers["Content-Disposition"].endswith('-v1.safetensors"')
    etag = newest.headers["ETag"]
    again, _ = download(people, "viewer", f"{path}/1/download", **{"If-None-Match": etag})
    assert (again.status_code, again.headers["ETag"]) == (304, etag)
    first, body = download(people, "viewer", f"{path}/0/download")
    assert (first.status_code, body) == (200, FILE)
    assert download(people, "stranger", f"{path}/0/download")[0].status_code == 404
    missing, _ = download(people, "viewer", f"{path}/9/download")
    assert (missing.status_code, missing.json()["code"]) == (404, "version_unknown")


def test_a_released_version_says_which_are_kept(trained):
    world, people = trained
    with system_scope():
        world.job.spec["retention"]["versions"] = 1
        retention.apply(world.job, now=NOW)
    found = people.get("viewer", f"jobs/{world.job.id}/versions/0/download")
    assert (found.status_code, found.json()["code"]) == (404, "version_released")
    assert found.json()["detail"].endswith("kept are 1")


def test_a_version_is_pinned_by_those_who_may(trained):
    world, people = trained
    path = f"jobs/{world.job.id}/versions/0/pin"
    kind = "application/json"
    assert people.post("viewer", path, {}, kind).status_code == 403
    assert people.post("stranger", path, {}, kind).status_code == 404
    assert people.post("owner", path, {}, kind).json()["pinned"] is True
    assert people.post("owner", path, {"pinned": False}, kind).json()["pinned"] is False
    assert people.post("owner", path, {"pinned": "x"}, kind).status_code == 400


def test_another_tenants_parameters_cannot_be_trained_from(people):
    digest = people.post("owner", "parameters", FILE).json()["digest"]
    factories.pool()
    refused = people.post("stranger", "jobs", factories.spec(parameters=digest), "application/json")
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_artifact")


def test_the_walls_hold_without_the_applications_filter(people):
    people.post("owner", "parameters", FILE)
    other = factories.tenant()
    from aggregation.models import Blob

    with scope(other.id):
        assert not Blob.objects.exists()
        assert not Artifact.objects.exists()
        artifacts.store_parameters(tenant_id=other.id, stream=[FILE], now=NOW)
        assert Blob.objects.get().tenant_id == other.id
