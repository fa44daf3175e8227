"""The example of the page on driven jobs, as it stands there, against the real platform."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.fleet import Fleet

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "driven-jobs.md"
DEVICES = 5


@pytest.fixture(scope="module")
def fleet(platform, tmp_path_factory):
    made = Fleet(platform, tmp_path_factory.mktemp("driven"), slug="driven", count=DEVICES)
    try:
        yield made.start()
    finally:
        made.stop()


def job_file(fleet):
    return {
        "name": "my own momentum",
        "workload": {
            "kind": "handler", "handler": "add", "dataset": "numbers", "config": {"seconds": 0.01},
        },
        "rounds": {"demand": DEVICES, "selection_s": 30, "deadline_s": 30},
        "pools": [fleet.pool],
    }  # fmt: skip


def run(fleet, code):
    names = {"url": fleet.client.url, "token": fleet.token, "job_file": job_file(fleet)}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def newest(fleet):
    return next(iter(fleet.client.jobs()))


def test_the_pages_example_runs_as_it_stands_there(fleet, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = run(fleet, code)
    # Device i adds i and weighs i % 3 + 1.
    mean = np.float32(sum(i * (i % 3 + 1) for i in range(DEVICES)) / 9)
    weight = velocity = np.float32(0)
    for _ in range(3):
        velocity = 0.9 * velocity - mean
        weight -= 0.5 * velocity
    assert names["model"]["weight"] == pytest.approx(np.full(8, weight), rel=1e-5)
    assert names["result"].count == DEVICES
    assert names["result"].weight == 9.0
    assert capsys.readouterr().out.count("5 devices") == 3
    job = newest(fleet)
    assert (job["status"], job["outcome"]) == ("finished", "completed")


def test_a_loop_that_fails_cancels_its_job(fleet):
    model = {"weight": np.zeros(8, dtype=np.float32)}
    rounds = []

    def loop():
        with fleet.client.driven(job_file(fleet), model) as job:
            rounds.append(job.start_round(model))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert newest(fleet)["outcome"] == "cancelled"
    assert "cancelled" in rounds[0].waiting() or "abandoned" in rounds[0].waiting()


def test_another_process_goes_on_where_the_first_one_stopped(fleet):
    from propius.driven import DrivenJob

    model = {"weight": np.zeros(8, dtype=np.float32)}
    first = fleet.client.driven(job_file(fleet), model)
    total = first.start_round(model).collect(timeout_s=30)
    with DrivenJob(fleet.client, fleet.client.job(first.id)) as second:
        assert second.sum_of(1).tensors["weight"].tolist() == total.tensors["weight"].tolist()
        assert second.start_round(model).number == 2
