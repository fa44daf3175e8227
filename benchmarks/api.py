"""Server CPU of API calls and pages on a tenant with months of rows, and on a small one.

    make bench NAME=api                          # 200 jobs, 20 000 rounds, 50 000 devices

One client asks each address again and again over one connection; CPU is that of the web process
and of Postgres together, over all of an address's requests. `flat` compares the large tenant with
one of a tenth of the rows: what is flat in the size of the tables stays near 1. Calls have to be
flat; pages, which draw all that they show, are told beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import httpx
import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks import result
from benchmarks.process_set import ROOT, ProcessSet, running
from propius_site.embedded import paths, postgres

JOBS, ROUNDS, DEVICES, REQUESTS = 200, 20_000, 50_000, 40
PASSWORD = "only for this benchmark"
CALL_MS, PAGE_MS, FLAT = 25.0, 100.0, 2.5
QUIET_S, QUIET_SHARE, QUIET_WITHIN_S = 3.0, 0.15, 90.0
CALLS = {
    "jobs": "/api/v1/jobs",
    "job": "/api/v1/jobs/{job}",
    "rounds": "/api/v1/jobs/{job}/rounds",
    "round": "/api/v1/jobs/{job}/rounds/1",
    "manifest": "/api/v1/jobs/{job}/manifest",
    "events": "/api/v1/jobs/{job}/events?follow=false",
    "versions": "/api/v1/jobs/{job}/versions",
    "explanation": "/api/v1/jobs/{job}/explanation",
    "parameters": "/api/v1/parameters",
    "programs": "/api/v1/programs",
    "policy": "/api/v1/policy",
    "usage": "/api/v1/usage",
    "quota": "/api/v1/quota",
    "attention": "/api/v1/attention",
    "fleet": "/api/v1/fleet",
    "fleet_day": "/api/v1/fleet/day",
    "attributes": "/api/v1/attributes",
    "distributions": "/api/v1/attributes/distributions",
    "pools": "/api/v1/pools",
    "enrolment_tokens": "/api/v1/pools/{pool}/enrolment-tokens",
    "devices": "/api/v1/devices",
    "device": "/api/v1/devices/{device}",
    "device_of_task": "/api/v1/assignments/{task}/device",
    "me": "/api/v1/me",
    "tokens": "/api/v1/tokens",
    "members": "/api/v1/members",
    "invitations": "/api/v1/invitations",
    "webhooks": "/api/v1/webhooks",
    "deliveries": "/api/v1/webhooks/{webhook}/deliveries",
    "audit": "/api/v1/audit",
}
PAGES = {
    "overview": "/",
    "jobs": "/jobs/",
    "job": "/jobs/{job}/",
    "devices": "/devices/",
    "explorer": "/devices/eligible/?q=os+%3D+linux+and+memory_mb+%3E%3D+4096",
    "usage": "/usage/",
    "audit": "/settings/audit/",
}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    given = parser.parse_args()
    with running(PROPIUS_API_REQUESTS_PER_MINUTE="1000000") as platform:
        size = (given.jobs, given.rounds, given.devices)
        small = measure(platform, "small", [max(10, one // 10) for one in size], given.requests)
        large = measure(platform, "large", size, given.requests)
    figures: dict[str, Any] = {
        "call_cpu_ms_max": max(large["calls"].values()),
        "page_cpu_ms_max": max(large["pages"].values()),
        "page_wall_ms_max": max(large["walls"].values()),
        "call_flat_max": _flat(small["calls"], large["calls"]),
        "page_flat_max": _flat(small["pages"], large["pages"]),
        "calls_cpu_ms": large["calls"],
        "pages_cpu_ms": large["pages"],
        "pages_wall_ms": large["walls"],
        "small_calls_cpu_ms": small["calls"],
        "small_pages_cpu_ms": small["pages"],
    }
    targets = {
        "call_cpu_ms_max": ("<=", CALL_MS), "page_cpu_ms_max": ("<=", PAGE_MS),
        "call_flat_max": ("<=", FLAT),
    }  # fmt: skip
    print(result.line("api", figures, targets))


def measure(platform: ProcessSet, slug: str, size: Any, requests: int) -> dict[str, Any]:
    """Seed a tenant and ask for everything; CPU and median wall time in ms by address."""
    jobs, rounds, devices = map(str, size)
    done = subprocess.run(
        [
            sys.executable, "manage.py", "seed", "--tenant", slug, "--password", PASSWORD,
            "--jobs", jobs, "--rounds", rounds, "--devices", devices,
        ],
        cwd=ROOT, env=platform.environment | {"PROPIUS_DB_ROLE": "app"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    made = json.loads(done.stdout)
    where = make_conninfo(**postgres.conninfo(platform.paths, database=paths.DATABASE))
    with psycopg.connect(where, autocommit=True) as database:
        database.execute("VACUUM ANALYZE")  # or Postgres does so by itself while calls are timed
    _wait_for_quiet(platform)
    url = f"http://127.0.0.1:{platform.web_port}"
    token = {"Authorization": f"Bearer {made['token']}"}
    with (
        httpx.Client(base_url=url, timeout=60) as api,
        httpx.Client(base_url=url, timeout=60) as browser,
    ):
        api.headers.update(token)
        # A job in the middle of the list: it has all of its rounds.
        ids = {
            "job": _listed(api, "jobs?page_size=50")[-1]["id"],
            "device": _listed(api, "devices")[0]["id"],
            "pool": next(one["id"] for one in _listed(api, "pools") if not one["shared"]),
            "webhook": _webhook(api),
            "task": made["task"],
        }
        _sign_in(browser, made["owner"])
        calls = {
            key: _ask(api, platform, one.format(**ids), requests) for key, one in CALLS.items()
        }
        pages = {
            key: _ask(browser, platform, one.format(**ids), requests) for key, one in PAGES.items()
        }
    return {
        "calls": {key: cpu for key, (cpu, _) in calls.items()},
        "pages": {key: cpu for key, (cpu, _) in pages.items()},
        "walls": {key: wall for key, (_, wall) in pages.items()},
    }


def _flat(small: dict[str, float], large: dict[str, float]) -> float:
    return max(round(large[name] / small[name], 2) for name in small)


def _listed(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/api/v1/{path}").raise_for_status().json()["results"]
    return found


def _webhook(api: httpx.Client) -> str:
    """Make one of which nothing is ever delivered: an address that answers is no part of this."""
    body = {"url": "https://example.org/hook", "kinds": ["job.rejected"]}
    return str(api.post("/api/v1/webhooks", json=body).raise_for_status().json()["id"])


def _wait_for_quiet(platform: ProcessSet) -> None:
    """Return once what was seeded is planned: that work is no call's."""
    until = time.monotonic() + QUIET_WITHIN_S
    while True:
        before = sum(platform.cpu_s().values())
        time.sleep(QUIET_S)
        share = (sum(platform.cpu_s().values()) - before) / QUIET_S
        if share < QUIET_SHARE:
            return
        if time.monotonic() > until:
            raise SystemExit(f"the platform uses {share:.2f} of a core with nobody asking")


def _ask(client: httpx.Client, platform: ProcessSet, path: str, count: int) -> tuple[float, float]:
    for _ in range(3):
        client.get(path).raise_for_status()
    before, walls = _cpu_s(platform), []
    for _ in range(count):
        began = time.perf_counter()
        answer = client.get(path)
        walls.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}")
    cpu = 1000 * (_cpu_s(platform) - before) / count
    return round(cpu, 2), round(sorted(walls)[count // 2], 2)


def _cpu_s(platform: ProcessSet) -> float:
    used = platform.cpu_s()
    return used["web"] + used["postgres"]


def _sign_in(browser: httpx.Client, name: str) -> None:
    browser.get("/sign-in/").raise_for_status()
    form = {
        "username": name, "password": PASSWORD,
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }  # fmt: skip
    answer = browser.post("/sign-in/", data=form, headers={"Referer": str(browser.base_url)})
    if answer.status_code != 302:
        raise SystemExit(f"signing in: {answer.status_code}")


if __name__ == "__main__":
    main()
