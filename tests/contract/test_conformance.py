"""Our own agent and the minimal clients pass the cases; a client that does not is told why."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from propius.conformance import runner
from propius.conformance.sockets import hello

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PYTHON = shlex.quote(sys.executable)
OURS = f"{PYTHON} -m propius.conformance.client"
CLIENTS = {
    ("ours", "socket"): OURS,
    ("ours", "once"): OURS,
    ("minimal", "socket"): f"{PYTHON} {shlex.quote(str(EXAMPLES / 'minimal_client.py'))}",
    ("minimal", "once"): f"{PYTHON} {shlex.quote(str(EXAMPLES / 'minimal_once.py'))}",
}


@pytest.mark.parametrize(("who", "mode"), CLIENTS, ids=["-".join(one) for one in CLIENTS])
async def test_the_client_passes_every_case(who, mode):
    verdicts = await runner.run_all(CLIENTS[who, mode], (mode,), print)
    assert [one for one in verdicts if one.fault] == []
    assert {one.case for one in verdicts} == {case.__name__ for case in runner.CASES[mode]}


def test_the_minimal_clients_are_small_and_know_nothing_of_propius():
    for name in ("minimal_client.py", "minimal_once.py"):
        text = (EXAMPLES / name).read_text()
        assert len(text.splitlines()) <= 200
        assert not re.search(r"^\s*(from|import) propius", text, re.MULTILINE)


@pytest.mark.parametrize("mode", runner.CASES)
def test_the_page_names_every_case_and_each_says_what_it_is(mode):
    page = (ROOT / "docs" / "protocol.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{mode}` | `"))
    assert re.findall(r"`(\w+)`", row)[1:] == [case.__name__ for case in runner.CASES[mode]]
    assert all(case.__doc__ for case in runner.CASES[mode])


async def test_a_client_that_ends_fails_with_its_words():
    verdict = await runner.run("sh -c 'echo no idea; exit 3'", "socket", hello)
    assert "ended with status 3" in verdict.fault
    assert "no idea" in verdict.fault


async def test_a_client_with_another_key_is_told_what_is_wrong_with_its_hello(tmp_path):
    text = (EXAMPLES / "minimal_client.py").read_text()
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text.replace("KEY.sign(", "Ed25519PrivateKey.generate().sign("))
    verdict = await runner.run(f"{PYTHON} {wrong}", "socket", hello)
    assert "signature of the hello" in verdict.fault


async def test_a_client_that_gives_another_reason_for_a_refusal_fails(tmp_path):
    text = (EXAMPLES / "minimal_client.py").read_text()
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text.replace('"private_constraint" for', '"condition" for'))
    (case,) = (one for one in runner.CASES["socket"] if one.__name__ == "private_constraints")
    verdict = await runner.run(f"{PYTHON} {wrong}", "socket", case)
    assert "private_constraint was to be said" in verdict.fault
