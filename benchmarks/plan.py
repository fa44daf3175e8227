"""Snapshot to published plan: CPU of the policy, of the payload, and of the script in Redis.

    make bench NAME=plan                       # 1 000 rounds, 100 groups, 500 signatures, fair
    make bench NAME=plan ARGS="--rounds 10000 --policy fifo"

``total_ms_by_policy`` is the same with the other policies that the console offers, and
``total_ms_by_rounds`` the policy's growth with the open rounds.

Starts a Valkey of its own, so a running platform is not touched. CPU is this process's (medians)
plus the server's (its process's over all repeats, the reading of the payload with it). Between two
plans one round closes, one opens, and ten have got a tenth of their devices: nothing is planned
where nothing has changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import result

ROUNDS, GROUPS, SIGNATURES, GROUPS_PER_SIGNATURE, REPEATS, SEED = 1_000, 100, 500, 10, 50, 7
DRAWN = 10
OTHERS, GROWTH = ("propius", "irs", "fifo", "srsf"), (1_000, 3_000, 10_000)
TARGET_MS = 10.0
ROOT = Path(__file__).resolve().parent.parent


def measure(
    *, rounds: int, groups: int, signatures: int, repeats: int, policy: str
) -> dict[str, float]:
    """Plan and publish ``repeats`` times; needs Django set up and Redis there. CPU in ms."""
    from core import connections
    from scheduling import policies, publishing

    chosen = policies.make(policy, {})
    snapshot = _snapshot(rounds, groups, signatures)
    client = connections.soft_state()
    info: Any = client.info("server")
    server = psutil.Process(info["process_id"])
    planned, published = [], []
    used = 0.0
    for repeat in range(-1, repeats):  # the first loads the script and sends all
        if repeat == 0:
            used = sum(server.cpu_times()[:2])
        snapshot = _changed(snapshot, repeat)
        shown = [
            publishing.PublishedRound(one.id, one.tenant, one.group, False, one.remaining, {})
            for one in snapshot.rounds
        ]
        begun = publishing.begin()
        at = time.process_time()
        plan = chosen.plan(snapshot)
        planned.append(time.process_time() - at)
        at = time.process_time()
        publishing.publish(
            begun,
            publishing.Publication(
                policy=policy, shuffled=plan.shuffled, groups="bench", groups_text="{}",
                rounds=shown, queues=plan.queues, signatures=plan.signatures, room={}, seen={},
                rows=(), order=plan.order,
            ),
        )  # fmt: skip
        published.append(time.process_time() - at)
    used = sum(server.cpu_times()[:2]) - used
    figures = {
        "policy_ms": round(statistics.median(planned[1:]) * 1e3, 3),
        "payload_ms": round(statistics.median(published[1:]) * 1e3, 3),
        "script_ms": round(used * 1e3 / repeats, 3),
    }
    return figures | {
        "total_ms": round(sum(figures.values()), 3),
        "first_payload_ms": round(published[0] * 1e3, 3),
    }


def _changed(snapshot: Any, repeat: int) -> Any:
    """Close a round, open another in its group, and give ten some of their devices."""
    draw = random.Random(repeat)
    rounds = list(snapshot.rounds)
    for place in draw.sample(range(len(rounds)), min(DRAWN, len(rounds))):
        had = rounds[place]
        rounds[place] = dataclasses.replace(had, remaining=max(1, had.remaining * 9 // 10))
    closed = rounds.pop(draw.randrange(len(rounds)))
    new = f"00000000-0000-0000-0001-{repeat + 1:012x}"
    rounds.append(dataclasses.replace(closed, id=new, remaining=draw.randint(1, 50)))
    return dataclasses.replace(snapshot, rounds=tuple(rounds))


def _snapshot(rounds: int, groups: int, signatures: int) -> Any:
    from scheduling.policies import OpenRound, SignatureSupply, Snapshot

    draw = random.Random(SEED)
    names = [f"{number:016x}" for number in range(groups)]
    supply = {}
    for _ in range(signatures):  # a few groups cannot make many signatures: equal ones are one
        members = frozenset(draw.sample(names, min(GROUPS_PER_SIGNATURE, groups)))
        name = "+".join(sorted(members))
        supply[name] = SignatureSupply(name, members, rate=draw.random(), idle=10)
    opened = [
        OpenRound(
            f"00000000-0000-0000-0000-{number:012x}", f"job-{number}", f"tenant-{number % 10}",
            names[number % groups], 50, draw.randint(1, 50), 10, 0, draw.random(), draw.random(),
        )
        for number in range(rounds)
    ]  # fmt: skip
    return Snapshot(1.0, tuple(opened), tuple(supply.values()))


def main() -> None:
    """Start a Valkey in a folder of its own, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--groups", type=int, default=GROUPS)
    parser.add_argument("--signatures", type=int, default=SIGNATURES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--policy", default="fair")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="propius-bench-") as home:
        os.environ |= {"PROPIUS_HOME": home, "DJANGO_SETTINGS_MODULE": "propius_site.settings"}
        os.environ.pop("REDIS_URL", None)
        command = [sys.executable, "-m", "propius_site.embedded", "valkey", home]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_for_redis()
                figures: dict[str, Any] = measure(**vars(options)) | vars(options)
                figures["total_ms_by_policy"] = {
                    name: measure(**vars(options) | {"policy": name})["total_ms"] for name in OTHERS
                }
                figures["total_ms_by_rounds"] = {
                    str(rounds): measure(**vars(options) | {"rounds": rounds})["total_ms"]
                    for rounds in GROWTH
                }
            finally:
                server.terminate()
                server.wait()
                _forget(home)
    figures["slowest_ms"] = max(figures["total_ms"], *figures["total_ms_by_policy"].values())
    targets = {"total_ms": ("<=", TARGET_MS), "slowest_ms": ("<=", TARGET_MS)}
    print(result.line("plan", figures, targets))


def _wait_for_redis() -> None:
    import django
    import redis

    django.setup()
    from core import connections

    for _ in range(200):
        try:
            connections.soft_state().ping()
            return
        except redis.ConnectionError:
            time.sleep(0.05)
    raise SystemExit("the Valkey of this benchmark did not start")


def _forget(home: str) -> None:
    """A root's server has its folders outside the home."""
    from propius_site.embedded import folders, paths

    folders.remove(paths.for_home(Path(home)))


if __name__ == "__main__":
    main()
