"""Random interleavings of all that may happen, against the real databases.

A long run with new seeds: ``MODEL_EXAMPLES=500 MODEL_STEPS=80 make test ARGS="… -k model"``.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tenants.scopes import system_scope

LONG = "MODEL_EXAMPLES" in os.environ


@pytest.mark.timeout(0 if LONG else 300)
@pytest.mark.django_db
def test_the_model_holds_whatever_comes_between(redis):
    from tests.integration.scheduling.machine import Platform

    limits = settings(
        max_examples=int(os.environ.get("MODEL_EXAMPLES", "25")),
        stateful_step_count=int(os.environ.get("MODEL_STEPS", "30")),
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
    )
    with system_scope():
        run_state_machine_as_test(Platform, settings=limits)
