"""The kinds of events that may be asked for are those that are appended."""

import ast
from pathlib import Path

from frontend import event_words
from jobs.event_kinds import KINDS
from jobs.models import Assignment, Job, Round
from tenants.webhooks import kinds as webhooks

BASE_DIR = Path(__file__).resolve().parent.parent.parent
CALLS = {"events.append", "events.New", "opening.tell", "tell"}
OF_JOBS = ("job.", "round.", "assignment.")


def test_every_kind_that_is_appended_may_be_asked_for_and_no_other():
    written = {
        one.value
        for app in ("jobs", "scheduling", "aggregation")
        for path in (BASE_DIR / app).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and call.args and ast.unparse(call.func) in CALLS
        for one in ast.walk(call.args[0])
        if isinstance(one, ast.Constant) and str(one.value).startswith(OF_JOBS)
    }
    whole = {one for one in written if not one.endswith(".")}
    # The rest is made of how something ended.
    assert written - whole == set(OF_JOBS)
    ended = {f"job.{one}" for one in Job.Outcome.values}
    ended |= {f"round.{one}" for one in Round.Outcome.values}
    ended |= {f"assignment.{one}" for one in Assignment.Status.values}
    untold = {"assignment.bound", "assignment.reported"}  # only hinted at
    assert set(KINDS) == whole | ended - untold
    assert len(KINDS) == len(set(KINDS))


def test_what_the_job_page_and_webhooks_tell_apart_may_be_asked_for():
    of_page = {one for _, kinds in event_words.LOGS.values() for one in kinds or ()}
    assert of_page <= set(KINDS)
    assert {one for one in webhooks.KINDS if one.startswith(OF_JOBS)} <= set(KINDS)
