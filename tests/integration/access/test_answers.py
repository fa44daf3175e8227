"""Every call of the API succeeds for somebody, and answers as its description says."""

import re

import jsonschema

from tests.integration.access.callers import asked_once
from tests.integration.access.matrix import ROWS

NEVER = {("post", "/api/v1/devices/leave")}
"""What takes a device's signature: tests/integration/clients/test_enrolment.py lets one leave."""


def test_each_call_that_succeeds_answers_as_described(world, description):
    wrong, done = [], set()
    for route, rows in ROWS.items():
        for method, row in rows.items():
            call = description["paths"].get(_path(route), {}).get(method.lower())
            if call is None:
                continue
            persona = "operator" if row.expected["owner"] == 403 else "owner"
            answer = asked_once(world, persona, method, route, row.body(world) if row.body else {})
            if answer.status_code >= 300:
                continue
            done.add((method.lower(), _path(route)))
            fault = _fault(answer, call, description["components"])
            wrong += [(method, route, fault)] if fault else []
    assert wrong == []
    described = {(method, path) for path, calls in description["paths"].items() for method in calls}
    assert described - done == NEVER


def _path(route):
    """Return how the description writes a path of the URL table."""
    return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)


def _fault(answer, call, components):
    described = call["responses"].get(str(answer.status_code))
    if described is None:
        return f"answers {answer.status_code}, of which the description does not tell"
    kind = answer.headers.get("Content-Type", "").split(";")[0]
    content = described.get("content", {})
    if kind not in (content or {""}):
        return f"answers {kind or 'nothing'}, and {sorted(content)} is described"
    if kind == "application/json":
        whole = {**content[kind]["schema"], "components": components}
        try:
            jsonschema.validate(answer.json(), whole)
        except jsonschema.ValidationError as error:
            return f"{error.json_path}: {error.message[:200]}"
    return ""
