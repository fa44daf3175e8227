"""Handlers as a device's owner might register them; the pool's tests run them in children."""

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from propius import Result


def add_one(parameters: dict[str, Any], config: dict[str, Any], data: dict[str, Any]) -> Result:
    print("a handler may print")
    made = {name: value + np.float32(config.get("by", 1)) for name, value in parameters.items()}
    return Result(made, examples=len(data["x"]), metrics={"torch": float("torch" in sys.modules)})


def environment(parameters: Any, config: dict[str, Any], data: Any) -> Result:
    Path(str(config["to"])).write_text("\n".join(f"{k}={v}" for k, v in os.environ.items()))
    return Result(parameters, 1, {"nice": os.nice(0)})


def hungry(parameters: Any, config: Any, data: Any) -> Result:
    return Result({"w": np.ones(1 << 30)}, 1)


def endless(parameters: Any, config: Any, data: Any) -> Result:
    while True:
        time.sleep(0.01)


def exits(parameters: Any, config: Any, data: Any) -> Result:
    print("going down", flush=True)
    os._exit(3)


def segfaults(parameters: Any, config: Any, data: Any) -> Result:
    ctypes.string_at(0)
    raise AssertionError


def raises(parameters: Any, config: Any, data: Any) -> Result:
    raise KeyError("no such column")


def wrong_shape(parameters: Any, config: Any, data: Any) -> Result:
    return Result({**parameters, "bias": np.zeros(2, np.float32)}, 1)


def not_a_number(parameters: Any, config: Any, data: Any) -> Result:
    return Result({name: value * np.nan for name, value in parameters.items()}, 1)


def bad_metric(parameters: Any, config: Any, data: Any) -> Result:
    return Result(parameters, 1, {"loss": float("inf")})


def none(parameters: Any, config: Any, data: Any) -> None:
    return None


def chatty(parameters: Any, config: Any, data: Any) -> Result:
    print("x" * (1 << 21), flush=True)
    return Result(parameters, examples=1)
