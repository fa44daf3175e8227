"""`manage.py simulate` from its flags to its output; no database is touched."""

import csv
import json
import subprocess
import sys
from io import StringIO
from xml.etree import ElementTree

import pyarrow.parquet
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


def test_a_sweep_is_parquet_too_with_the_numbers_of_its_csv(files, tmp_path):
    table = tmp_path / "sweep.parquet"
    simulate(*files, "--sweep", "fifo,propius×1,2", "--output", str(table))
    found = pyarrow.parquet.read_table(table).to_pylist()
    lines = list(csv.DictReader(StringIO(simulate(*files, "--sweep", "fifo,propius×1,2"))))
    assert [row["policy"] for row in found] == ["fifo", "propius"]
    for row, line in zip(found, lines, strict=True):
        assert row.keys() == line.keys()
        assert row["mean_completion_time_s"] == float(line["mean_completion_time_s"])


def test_a_sweep_is_drawn_with_its_intervals_and_one_seed_without(files, tmp_path):
    plot = tmp_path / "sweep.svg"
    simulate(*files, "--sweep", "fifo,propius×1,2", "--plot", str(plot))
    drawn = ElementTree.parse(plot).getroot()
    kinds = [one.get("class") for one in drawn.iter()]
    assert (kinds.count("t"), kinds.count("b"), kinds.count("i")) == (3, 6, 6)
    simulate(*files, "--sweep", "fifo×1", "--plot", str(plot))
    assert 'class="i"' not in plot.read_text()


def test_parquet_without_its_library_and_plots_of_one_run_are_refused(files, tmp_path):
    without = f"import sys; sys.modules['pyarrow'] = None; {AS_PARQUET}"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True)
    assert "NoParquet: Parquet needs pyarrow: pip install pyarrow" in done.stderr
    with pytest.raises(CommandError, match="are of a --sweep"):
        simulate(*files, "--plot", str(tmp_path / "x.svg"))
    with pytest.raises(CommandError, match=r"ends in \.svg"):
        simulate(*files, "--sweep", "fifo×1", "--plot", str(tmp_path / "x.png"))


AS_PARQUET = "from scheduling.simulation import sweep; sweep.as_parquet([])"


def test_what_cannot_be_run_is_refused_with_a_reason(files):
    with pytest.raises(CommandError, match="propius"):
        simulate(*files, "--policy=best")
    with pytest.raises(CommandError, match="go together"):
        simulate(files[0])
    with pytest.raises(CommandError, match="is the form"):
        simulate(*files, "--sweep", "fifo")
