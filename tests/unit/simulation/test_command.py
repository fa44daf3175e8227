"""`manage.py simulate` from its flags to its output; no database is touched."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

KEYS = {
    "mean_completion_time_s", "p50_completion_time_s", "p95_completion_time_s", "makespan_s",
    "rounds_succeeded", "rounds_aborted", "utilisation", "jain",
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    sessions = "".join(f"{at},{at + 900}\n" for at in range(100, 3_000, 2))
    (tmp_path / "s.csv").write_text("start_s,end_s\n" + sessions)
    (tmp_path / "c.csv").write_text("computation_ms,communication_kbps\n78,13736\n")
    (tmp_path / "e.csv").write_text("groups\n1\n1 2\n")
    (tmp_path / "j.csv").write_text(
        "job,arrival_s,group,participants,rounds,deadline_s,workload_s\n"
        "0,100,1,10,3,300,30\n1,110,2,10,3,300,30\n"
    )
    names = {"sessions": "s", "capacity": "c", "eligibility": "e", "jobs": "j"}
    return [f"--{flag}={tmp_path / name}.csv" for flag, name in names.items()]


def simulate(*flags):
    out = StringIO()
    call_command("simulate", *flags, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("rules", ["reference", "platform"])
def test_it_simulates_files_and_prints_json(files, rules):
    report = json.loads(simulate(*files, "--rules", rules, "--policy=irs", "--seed=2", "--json"))
    assert report.keys() >= KEYS
    assert report["rounds_succeeded"] == 6
    assert report["seed"] == 2


def test_a_sweep_is_csv(files):
    lines = simulate(*files, "--sweep", "fifo,propius×1,2").splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("propius,2,")


def test_what_cannot_be_run_is_refused_with_a_reason(files):
    with pytest.raises(CommandError, match="propius"):
        simulate(*files, "--policy=best")
    with pytest.raises(CommandError, match="go together"):
        simulate(files[0])
    with pytest.raises(CommandError, match="is the form"):
        simulate(*files, "--sweep", "fifo")
