"""Logistic regression as a handler: a Python function that the device's owner registered.

NumPy only, so it runs on the devices that have no torch. Parameters are ``weight`` of shape
``(features,)`` and ``bias`` of shape ``(1,)``, float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from propius.training.result import Result

Array = NDArray[Any]


def train(
    parameters: Mapping[str, Array], config: Mapping[str, Any], data: Mapping[str, Array]
) -> Result:
    """Take ``config["steps"]`` gradient steps of ``config["learning_rate"]`` over all examples."""
    weight, bias = (parameters[name].astype(np.float64) for name in ("weight", "bias"))
    x, y = data["x"], data["y"]
    metrics = _metrics(weight, bias, x, y)
    for _ in range(int(config["steps"])):
        error = _probability(weight, bias, x) - y
        weight -= config["learning_rate"] * (x.T @ error / len(y))
        bias -= config["learning_rate"] * error.mean()
    trained = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    return Result(trained, examples=len(y), metrics=metrics)


def evaluate(
    parameters: Mapping[str, Array], config: Mapping[str, Any], data: Mapping[str, Array]
) -> Result:
    """Return loss and accuracy; nothing is trained."""
    metrics = _metrics(parameters["weight"], parameters["bias"], data["x"], data["y"])
    return Result({}, examples=len(data["y"]), metrics=metrics)


def initial() -> dict[str, Array]:
    """Return the model that the job begins with: it knows nothing."""
    return {"weight": np.zeros(30, np.float32), "bias": np.zeros(1, np.float32)}


def _probability(weight: Array, bias: Array, x: Array) -> Array:
    # Logits beyond ±30 are certain in float64 already; the clip keeps exp from overflowing.
    logits: Array = np.clip(x @ weight + bias, -30, 30)
    return 1 / (1 + np.exp(-logits))


def _metrics(weight: Array, bias: Array, x: Array, y: Array) -> dict[str, float]:
    probability = _probability(weight, bias, x)
    likelihood = np.where(y == 1, probability, 1 - probability)
    return {
        "loss": float(-np.log(likelihood).mean()),
        "accuracy": float(((probability > 0.5) == y).mean()),
    }
