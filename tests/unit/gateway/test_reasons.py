"""Which refusals are told to tenants: known codes only, whatever a device says."""

import pytest

from gateway import reasons

NEEDS = {"kind": "handler", "needs": {"x": {"shape": [28, 28]}, "y": {"classes": 10}}}


@pytest.mark.parametrize(
    "code",
    [
        "consent", "dataset", "private_constraint", "probe_limit", "condition", "too_slow",
        "too_large",         "dataset.x", "dataset.x.shape", "dataset.y.classes",
    ],
)  # fmt: skip
def test_known_codes_pass(code):
    assert reasons.known(code, NEEDS) == code


@pytest.mark.parametrize(
    "code",
    [
        "", "ward=oncology", "consent.oncology", "dataset.ward", "dataset.x.137",
        "dataset.x.shape.7", "dataset.", "dataset.x.", "dataset..shape", "private_constraint.ward",
    ],
)  # fmt: skip
def test_any_other_text_of_a_device_is_counted_as_other(code):
    assert reasons.known(code, NEEDS) == "other"
    assert reasons.known("dataset.x.shape", {}) == "other"


def test_a_device_that_refuses_again_is_one_device():
    found = reasons.Refusals()
    for device in ("d1", "d2", "d1"):
        found.note(device, [("job", "consent")])
    assert found.take() == {("job", "consent"): {"d1", "d2"}}
    assert not found.take()
