"""Every code that a device can send has words of its own on a job's pages."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from frontend import device_codes
from frontend.endings import Ending, why
from gateway import reasons

ROOT = Path(__file__).resolve().parents[3]
SDK = ROOT / "sdk" / "propius"
CODE = re.compile(r"[a-z]+(_[a-z]+)*")
FAILURES = {"Failed", "TaskFailed", "TrainingError", "TensorError"}
"""What is constructed with a failure's code first."""
NOT_SENT = {"not_exportable"}
"""Told on the submitter's machine."""


def constructed(names: set[str]) -> Iterator[str]:
    """Yield the codes with which the SDK's modules construct one of the named classes."""
    for path in SDK.rglob("*.py"):
        module = ".".join(path.relative_to(SDK.parent).with_suffix("").parts)
        if module.startswith("propius.conformance"):
            continue  # its Failed is of a case that a client failed
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not (node.args or node.keywords):
                continue
            if ast.unparse(node.func).rpartition(".")[2] in names:
                yield from literal(node, module)


def literal(call: ast.Call, module: str) -> Iterator[str]:
    given = next((one.value for one in call.keywords if one.arg == "code"), None)
    given = given if given is not None or not call.args else call.args[0]
    if isinstance(given, ast.Constant):
        yield str(given.value)
    elif isinstance(given, ast.Name) and given.id.isupper():
        yield str(getattr(importlib.import_module(module), given.id))


def of_classes() -> Iterator[str]:
    """Yield the codes that errors of training and of programs have from their class."""
    for path in [*(SDK / "training").rglob("*.py"), *(SDK / "program").rglob("*.py")]:
        yield from re.findall(r'^    code = "(\w+)"$', path.read_text(), re.MULTILINE)


def refused() -> Iterator[str]:
    """Yield the codes by which updates are refused, from the page of the protocol."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    _, _, rest = page.partition("Refusals of an assignment's result;")
    table, _, _ = rest.partition("Not fatal and about no assignment")
    for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        yield from re.findall(r"`(\w+)`", line)


def test_each_failure_of_the_sdk_has_words() -> None:
    found = {*constructed(FAILURES), *of_classes()} - NOT_SENT
    assert {"disk", "task_failed", "op_not_allowed", "not_finite", "too_slow"} <= found
    assert all(map(CODE.fullmatch, found))
    assert found - device_codes.FAILED.keys() == set()


def test_each_refusal_of_an_update_has_words() -> None:
    found = set(refused())
    assert {"too_large", "norm_exceeded", "digest_mismatch"} <= found
    assert found - device_codes.FAILED.keys() == set()


def test_each_decline_of_the_sdk_has_words() -> None:
    found = set(constructed({"Refusal", "Decline"}))
    assert {"consent", "busy", "too_slow", "preparing"} <= found
    assert found | reasons.KNOWN | {reasons.OTHER} == device_codes.DECLINED.keys()
    assert set(reasons.FACETS) == device_codes.FACETS.keys()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("failed", "disk", "could not write to their disk, or it is full"),
        ("failed", "trainer_timeout", "took too long in training"),
        ("failed", "of_another_client", "failed (of_another_client)"),
        ("failed", "", "failed"),
        ("declined", "dataset.x.shape", "declined: their data set has another shape"),
        ("declined", "of_another_client", "declined: their own reason"),
    ],
)
def test_an_ending_is_told_in_words(status, code, said):
    assert why(Ending(status, code, 1)) == said
