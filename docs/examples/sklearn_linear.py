"""A linear classifier of scikit-learn's, trained together; no torch anywhere.

    python sklearn_linear.py                    # writes linear.safetensors, classes.safetensors
    propius device register sklearn_linear:app  # on each device, this file in its folder

The job's parameters are the model's coefficients. A job file says ``workload = { kind = "handler",
handler = "linear", dataset = "digits", config = { epochs = 2 } }``. The second function answers a
query, ``kind = "query", handler = "classes"``: how many examples of each class there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier

import propius
from propius import arrays, queries

CLASSES, FEATURES = 10, 64
app = propius.App()


def model_of(parameters: Any, seed: int = 0) -> SGDClassifier:
    """Return scikit-learn's classifier with the job's coefficients."""
    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed % (1 << 32))
    # This makes it know all classes, whichever this device has.
    model.partial_fit(np.zeros((1, FEATURES)), [0], classes=np.arange(CLASSES))
    model.coef_ = parameters["coef"].astype(np.float64)
    model.intercept_ = parameters["intercept"].astype(np.float64)
    return model


@app.train("linear")
def train(parameters: Any, config: dict[str, Any], data: Any) -> propius.Result:
    """Go over the device's examples from the given coefficients on."""
    model = model_of(parameters, int(config["seed"]))
    for _ in range(int(config.get("epochs", 1))):
        model.partial_fit(data["x"].astype(np.float64), data["y"])
    made = {
        "coef": model.coef_.astype(np.float32),
        "intercept": model.intercept_.astype(np.float32),
    }
    accuracy = float(model.score(data["x"], data["y"]))
    return propius.Result(made, examples=len(data["y"]), metrics={"accuracy": accuracy})


@app.evaluate("linear")
def evaluate(parameters: Any, config: dict[str, Any], data: Any) -> propius.Result:
    """Score the coefficients on the device's validation split."""
    accuracy = float(model_of(parameters).score(data["x"], data["y"]))
    return propius.Result({}, examples=len(data["y"]), metrics={"accuracy": accuracy})


@app.query("classes")
def classes(parameters: Any, config: dict[str, Any], data: Any) -> propius.Result:
    """Count this device's examples by class, and sum up how dark their pixels are."""
    return propius.Result(answer(data["x"], data["y"]), examples=len(data["y"]))


def answer(x: Any, y: Any) -> dict[str, Any]:
    """Return what is summed over the devices."""
    counts = queries.histogram("class", y, [one - 0.5 for one in range(CLASSES + 1)])
    return counts | queries.mean("pixel", x, low=0.0, high=1.0)


if __name__ == "__main__":
    start = {
        "coef": np.zeros((CLASSES, FEATURES), np.float32),
        "intercept": np.zeros(CLASSES, np.float32),
    }
    Path("linear.safetensors").write_bytes(arrays.save(start))
    empty = answer(np.empty((0, FEATURES)), np.empty(0))
    Path("classes.safetensors").write_bytes(queries.form(empty))
