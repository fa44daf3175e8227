"""Every endpoint and page, every method, every kind of caller: the status that the matrix says."""

from django.test import Client

from tests.integration.access.callers import asked_twice, tried
from tests.integration.access.matrix import CONSOLE, PERSONAS, ROLES, ROWS, routes

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def test_everybody_gets_what_the_matrix_says(world):
    wrong, tally = [], 0
    for route, rows in ROWS.items():
        for method, row in rows.items():
            for persona in PERSONAS:
                sent = row.body(world) if row.body else {}
                status, entries = tried(world, persona, method, route, sent)
                tally += 1
                if status != row.expected[persona]:
                    wrong.append((persona, method, route, status, row.expected[persona]))
                if method == "GET" and entries:
                    wrong.append((persona, method, route, "a look is audited as a write"))
                written = method != "GET" and status < 400 and persona not in ("anonymous",)
                if written and row.audited and row.expected[persona] == status:
                    told = [(one.actor, one.address) for one in entries]
                    if not _told(route, persona, told):
                        wrong.append((persona, method, route, "not audited", told))
    assert wrong == []
    assert tally > 500


def _told(route, persona, told):
    """Whether a write left a line with its actor and address (a page's refusal leaves none)."""
    if not route.startswith("api/") and persona not in (*ROLES, "stranger"):
        return True  # sent to sign in, not written
    return any(actor and address == "127.0.0.1" for actor, address in told)


def test_no_path_does_what_it_has_no_method_for(world):
    wrong = []
    for route, rows in ROWS.items():
        for method in METHODS:
            if method in rows:
                continue
            for persona in ("anonymous", "owner", "revoked"):
                status, _ = tried(world, persona, method, route, {})
                # One who is signed in is sent on from the door whatever the method.
                expected = {302} if (route, persona) == ("sign-in/", "owner") else {405}
                if route.startswith("api/") and persona != "owner" and not _public(rows):
                    expected = {401}
                if status not in expected:
                    wrong.append((persona, method, route, status))
    assert wrong == []


def test_no_form_of_another_site_writes_anything(world):
    world.client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    found = {
        (method, route): tried(world, "owner", method, route, row.body(world) if row.body else {})
        for route, rows in ROWS.items()
        for method, row in rows.items()
        if method != "GET" and not _public(rows)
    }
    assert {one: got for one, got in found.items() if got != (403, [])} == {}
    assert len(found) > 40


def test_every_post_is_done_once_for_its_key(world):
    wrong, replayed = [], 0
    for route, rows in ROWS.items():
        if not route.startswith("api/") or "POST" not in rows:
            continue
        sent = rows["POST"].body(world) if rows["POST"].body else {}
        answers = asked_twice(world, "owner", "POST", route, sent)
        (first, did), (again, done) = answers
        if first.status_code >= 400:
            continue  # an error changed nothing, and is not kept
        replayed += 1
        said = ["Idempotency-Replayed" in one.headers for one in (first, again)]
        if said != [False, True] or first.content != again.content or did != done:
            wrong.append((route, said, first.content[:80], again.content[:80], did, done))
    assert wrong == []
    assert replayed > 15


def _public(rows):
    return all(len(set(row.expected.values())) == 1 for row in rows.values())


def test_the_matrix_has_a_row_for_every_path_and_none_too_many():
    present = {one for one in routes() if not one.startswith(CONSOLE)}
    assert present == set(ROWS)


def test_a_read_without_a_body_has_a_head_with_the_same_status(world):
    for route, rows in ROWS.items():
        if "GET" in rows and route.startswith("api/") and not _public(rows):
            for persona in ("anonymous", "viewer", "stranger"):
                status, _ = tried(world, persona, "HEAD", route, {})
                assert status == rows["GET"].expected[persona], (route, persona)
