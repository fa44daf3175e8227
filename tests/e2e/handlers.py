"""What the test fleet's devices run: numbers that can be checked by hand afterwards."""

import time

import numpy as np

from propius.training.result import Result


def add_my_index(parameters, config, data):
    """Add the device's index to every weight, after `seconds` of "work"; 1 to 3 examples.

    With `learns` it tells of measures that get better as the weights grow.
    """
    time.sleep(float(config["seconds"]))
    index = float(data["x"][0, 0])
    weight = parameters["weight"] + np.float32(index)
    metrics = {"loss": index}
    if config.get("learns"):
        grown = 0.95 * float(np.exp(-weight.mean() / 40)) + 0.003 * (index % 4)
        metrics = {"loss": 2.3 * grown, "accuracy": 1 - grown}
    return Result({"weight": weight}, examples=len(data["x"]), metrics=metrics)


def take_all_memory(parameters, config, data):
    """Ask for more than any cap of the tests' devices, which is 1 GB."""
    return Result(parameters, examples=len(np.ones(1 << 32)), metrics={})


def break_down(parameters, config, data):
    raise RuntimeError("ward 3, bed 7")
