"""What a leaf may ask of the root over HTTP, and what nobody may."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import pytest

from aggregation import blobs, leaves, tickets, under_way
from aggregation.models import Hold
from propius import arrays
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.aggregation import leaves as at
from tests.integration.aggregation import worlds
from tests.integration.aggregation.plane import DATA, Answer, Client, exchange, sha256, updates
from tests.integration.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def leaf():
    return at.make()


@pytest.fixture
def ask(plane, leaf):
    """Ask as the leaf, or with another token."""

    def asked(method: str, path: str, body: object = b"", *, token: str = "") -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or leaf[1]}", "Content-Length": str(len(data))}
        return asyncio.run(exchange(plane, method, f"/data/v1/leaf/{path}", headers, [data]))

    return asked


def said(carrier: Client, **changes: object) -> dict[str, object]:
    """What the leaf says of the carrier's update."""
    update = {
        "assignment": carrier.assignment.id, "ticket": carrier.ticket, "digest": sha256(DATA),
        "size_bytes": len(DATA), "weight": 2.0, "metrics": {"loss": 0.5},
    }  # fmt: skip
    return {"round": carrier.assignment.round, "updates": [update | changes]}


LOAD = {"free_bytes": 1, "cached_bytes": 2, "held": 3, "version": "x"}


def test_a_heartbeat_brings_the_keys_and_how_rounds_stand(ask, carrier):
    told = json.loads(
        ask("POST", "beat", {"load": LOAD, "rounds": [carrier.assignment.round]}).body
    )
    assert told["rounds"] == {carrier.assignment.round: "open"}
    keys = tickets.public_keys(now=NOW).values()
    assert told["keys"] == [key.public_bytes_raw().hex() for key in keys]
    with system_scope():
        assert leaves.authenticate(at.make("other")[1]).name == "other"


def test_a_heartbeat_tells_pages_what_moves_through_the_leaf(ask, carrier, bound, redis):
    mine = carrier.assignment.id

    def beat(**transfers: object) -> int:
        return ask("POST", "beat", {"load": LOAD, "rounds": [], "transfers": transfers}).status

    assert beat(**{mine: ["up", 30, 100, 12.5]}) == 200
    assert under_way.of([UUID(mine)]) == {UUID(mine): under_way.Told("up", 30, 100, 12.5)}
    assert beat(**{mine: ["up", -1, 100, 12.5]}) == 400
    assert beat(**{"-" * 36: None}) == 404
    assert beat(**{mine: None}) == 200
    assert under_way.of([UUID(mine)]) == {}


def test_a_leaf_tells_of_no_assignment_that_it_does_not_serve(ask, carrier, leaf, redis):
    with system_scope():
        leaf[0].pools.add(factories.pool(factories.tenant()))
    said = {"load": LOAD, "rounds": [], "transfers": {carrier.assignment.id: ["up", 1, 2, 3.0]}}
    assert ask("POST", "beat", said).status == 200
    assert under_way.of([UUID(carrier.assignment.id)]) == {}


def test_a_sum_goes_from_hold_to_rows(ask, carrier):
    held = json.loads(ask("POST", "holds", said(carrier)).body)
    assert held == {"taken": [carrier.assignment.id], "refused": {}, "push": False}
    recipe = json.loads(ask("GET", f"rounds/{carrier.assignment.round}").body)
    assert (recipe["fold"], recipe["take"], list(recipe["tensors"])) == (True, True, ["weight"])
    total = worlds.update(6.0)
    assert ask("PUT", f"partials/{sha256(total)}", total).status == 200
    message = {
        "round": carrier.assignment.round, "digest": sha256(total),
        "batches": [[carrier.assignment.id]],
    }  # fmt: skip
    for _ in range(2):
        assert json.loads(ask("POST", "partials", message).body) == {"number": 0}
    [counted] = updates()
    assert (counted.weight, counted.metrics, counted.partial_id is None) == (
        2.0, {"loss": 0.5}, False,
    )  # fmt: skip


def test_an_update_is_forwarded_once_and_only_by_who_holds_it(ask, carrier, leaf):
    path = f"updates/{carrier.assignment.id}"
    assert ask("PUT", path, DATA).code == (409, "not_held")
    ask("POST", "holds", said(carrier))
    # Without headers: what is refused leaves the hold as it was.
    assert ask("PUT", path, DATA).code == (400, "bad_headers")
    assert carrier.put(DATA).status == 200
    assert [one.digest for one in updates()] == [sha256(DATA)]
    with system_scope():
        assert not Hold.objects.exists()


def test_a_forged_or_foreign_ticket_holds_nothing(ask, carrier, plane, bound):
    other = Client(plane, bound[1])
    late = tickets.issue(
        assignment_id=UUID(carrier.assignment.id), downloads=[], upload_bytes=1 << 20,
        now=NOW - timedelta(hours=1),
    )  # fmt: skip
    head, tail = carrier.ticket.split(".")
    forged = f"{head}.{tail[:-4]}AAAA"
    for ticket, code in (
        (other.ticket, "wrong_ticket"), (forged, "bad_ticket"), (late, "stale_ticket"),
    ):  # fmt: skip
        found = json.loads(ask("POST", "holds", said(carrier, ticket=ticket)).body)
        assert found["taken"] == []
        assert found["refused"][carrier.assignment.id]["code"] == code
    big = json.loads(ask("POST", "holds", said(carrier, size_bytes=1 << 40)).body)
    assert big["refused"][carrier.assignment.id]["code"] == "too_large"
    # What it holds already it may say again without one: it has started anew.
    ask("POST", "holds", said(carrier))
    again = json.loads(ask("POST", "holds", said(carrier, ticket=late)).body)
    assert again["taken"] == [carrier.assignment.id]


def test_a_leafs_token_opens_no_parameters(plane, carrier, leaf):
    carrier.ticket = leaf[1]
    assert carrier.get(carrier.assignment.parameters.digest).code == (401, "bad_ticket")
    assert carrier.put(DATA).code == (401, "bad_ticket")


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "beat", {"rounds": []}, (400, "bad_message")),
        ("POST", "holds", b"{", (400, "bad_message")),
        ("GET", "rounds/x", b"", (404, "not_found")),
        ("GET", f"rounds/{UUID(int=1)}", b"", (404, "not_found")),
        ("DELETE", "rounds/x", b"", (404, "not_found")),
        ("PUT", f"partials/{'a' * 64}", b"abc", (400, "invalid")),
        ("POST", "holds", b" " * (5 << 20), (413, "too_large")),
    ],
)
def test_bad_words_are_refused(ask, method, path, body, code):
    assert ask(method, path, body).code == code


def test_a_partial_of_another_model_is_refused(ask, carrier):
    ask("POST", "holds", said(carrier))
    other = arrays.save({"bias": arrays.load(DATA)["weight"]})
    ask("PUT", f"partials/{sha256(other)}", other)
    message = {
        "round": carrier.assignment.round, "digest": sha256(other),
        "batches": [[carrier.assignment.id]],
    }  # fmt: skip
    assert ask("POST", "partials", message).code == (422, "partial_refused")
    assert blobs.store().path(sha256(other)).exists()
    assert updates() == []


@pytest.mark.parametrize("token", ["ppl_nobody", "x"])
def test_who_is_no_leaf_is_sent_away(ask, token):
    assert ask("POST", "beat", {}, token=token).code == (401, "leaf_unknown")
