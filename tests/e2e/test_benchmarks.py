"""The benchmarks run, tiny; what they count is checked, never how fast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report

ROOT = Path(__file__).resolve().parent.parent.parent
# A platform of their own, then five benchmarks: two minutes on a busy machine.
pytestmark = pytest.mark.timeout(450)
ALL = """
import argparse, uvloop
from benchmarks import bind, dashboard, idle, process_set, result, round, transfer
binds = argparse.Namespace(
    sockets=20, rounds=60, seconds=0.6, per_s=20.0, burst_devices=12, burst="5,5", bursts=1,
    warm_up_s=0.2,
)
idles = argparse.Namespace(devices=40, demand=25, rest_s=0.2)
with process_set.running() as platform:
    figures = uvloop.run(bind.measure(platform, binds))
    print(result.line("bind", figures, bind.TARGETS))
    figures = uvloop.run(idle.measure(platform, idles, "idle"))
    print(result.line("idle", figures, idle.TARGETS))
    pages = argparse.Namespace(
        pages=12, sockets=20, per_s=20.0, seconds=0.6, warm_up_s=0.2, changes=1, turns=1
    )
    figures = uvloop.run(dashboard.measure(platform, pages, "dashboard"))
    print(result.line("dashboard", figures, dashboard.TARGETS))
    figures = transfer.run(platform, 1, 1)
    print(result.line("transfer", figures, transfer.TARGETS))
    figures = round.measure(platform, {"5x1": 2})
    print(result.line("round", figures, {}))
"""


@pytest.fixture(scope="module")
def bench() -> dict[str, str]:
    """Run all on one process set, in a child: they set Django up for a platform of their own."""
    done = subprocess.run(
        [sys.executable, "-c", ALL], cwd=ROOT, capture_output=True, text=True, timeout=400,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {json.loads(line)["benchmark"]: line for line in done.stdout.splitlines()}


@pytest.mark.parametrize("name", ["bind", "idle", "dashboard", "transfer"])
def test_the_last_line_is_one_json_object_with_figures_and_targets(bench, name):
    found = json.loads(bench[name])
    assert found["benchmark"] == name
    assert set(found["targets"]) <= set(found["figures"])
    assert found["met"] == (not found["missed"])
    assert found["commit"]
    assert found["machine"]


def test_every_assignment_told_has_a_row(bench):
    for name in ("bind", "idle"):
        assert json.loads(bench[name])["figures"]["told_without_row"] == 0


def test_binds_are_counted_and_none_is_rejected(bench):
    figures = json.loads(bench["bind"])["figures"]
    assert figures["binds"] > 0
    assert figures["told"] > figures["binds"]
    assert figures["rejected_accepts"] == 0
    assert figures["server_cpu_ms_per_bind"] > 0
    assert "gateway" in figures["by_process"]


def test_all_idle_devices_are_bound_as_far_as_demanded_and_come_back_after_a_kill(bench):
    figures = json.loads(bench["idle"])["figures"]
    assert figures["bound"] == figures["demand"] == 25
    assert figures["back_s"] >= figures["first_back_s"] > 0


def test_every_open_page_tells_of_each_change(bench):
    figures = json.loads(bench["dashboard"])["figures"]
    assert (figures["changes"], figures["pages_untrue"]) == (2, 0)
    assert figures["true_s_max"] > 0
    assert figures["pushes_a_page"] > 0


def test_transfers_are_set_against_a_bare_server(bench):
    found = json.loads(bench["transfer"])
    shares = {f"{kind}_{way}_share" for kind in ("websocket", "http") for way in ("down", "up")}
    assert set(found["targets"]) == shares
    assert all(found["figures"][name] > 0 for name in shares)


def test_the_page_is_made_of_the_lines(bench, tmp_path):
    page = report.page([json.loads(line) for line in bench.values()])
    assert page.startswith("# Benchmarks")
    for line in bench.values():
        for name in json.loads(line)["targets"]:
            assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("name", "tiny"),
    [
        ("adaptive", ["--rounds", "1", "--seeds", "1"]),
        ("program", ["--steps", "1", "--width", "4"]),
    ],
)
def test_a_benchmark_of_local_training_runs(name, tiny):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *tiny],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["targets"]) <= set(found["figures"])
    assert report.page([found]).count("`") > 0


def test_rounds_without_training_are_timed_hop_by_hop(bench):
    figures = json.loads(bench["round"])["figures"]
    assert figures["5x1_rounds_per_s"] > 0
    for hop in ("bind", "device", "close"):
        assert figures[f"5x1_{hop}_ms"] > 0
    assert {"agents", "gateway", "worker-aggregation"} <= set(figures["5x1_cpu_s_per_round"])
