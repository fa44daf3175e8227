"""Hints: told once until they are taken, never a burden to those who send them."""

import json

from core import connections, hints


def send(capture, *args):
    with capture(execute=True):
        hints.send("aggregation.fold", *args, queue="aggregation")


def queued(redis):
    return [json.loads(one) for one in redis.lrange("propius:celery:aggregation", 0, -1)]


def test_equal_hints_are_one_until_the_task_has_begun(redis, django_capture_on_commit_callbacks):
    for argument in ("a", "a", "b"):
        send(django_capture_on_commit_callbacks, argument)
    assert len(queued(redis)) == 2
    hints.taken("aggregation.fold", "a")
    send(django_capture_on_commit_callbacks, "a")
    assert len(queued(redis)) == 3


def test_a_hint_without_a_worker_does_not_wait_for_ever(redis, django_capture_on_commit_callbacks):
    send(django_capture_on_commit_callbacks, "a")
    (message,) = queued(redis)
    assert message["headers"]["expires"] is not None


def test_without_redis_neither_the_change_nor_the_task_fails(
    settings, django_capture_on_commit_callbacks, caplog
):
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    connections.soft_state.cache_clear()
    try:
        send(django_capture_on_commit_callbacks, "a")
        hints.taken("aggregation.fold", "a")
    finally:
        connections.soft_state.cache_clear()
    assert {"hint.lost", "hint.not_taken"} <= {one.message for one in caplog.records}
