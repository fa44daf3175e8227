"""Handlers by decorator: an :class:`App` knows which functions do a job's work on a device.

The owner registers an app once, ``propius device register my_handlers:app``; the functions then run
in the trainer's child, which imports them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from propius.arrays import Array
from propius.training.result import Result

Function = Callable[[Mapping[str, Array], dict[str, Any], Mapping[str, Array]], Result]
F = TypeVar("F", bound=Function)


class AppError(ValueError):
    """A function that cannot be registered; the text says why."""


class App:
    """Functions by handler name and kind of work.

    Each takes ``(parameters, config, data)`` and returns a :class:`propius.Result`: ``parameters``
    are the model's arrays by name (a query's: the form of its answer), ``config`` the job's, with
    the round's ``seed``, and ``data`` the data set's arrays, ``x``, ``y``, … of the training split
    (of the validation split in an evaluation).

    Examples
    --------
    >>> app = App()
    >>> @app.train("mean")
    ... def train(parameters, config, data):
    ...     return Result({"mean": data["x"].mean(axis=0)}, examples=len(data["x"]))
    >>> sorted(app.functions)
    [('mean', 'train')]
    """

    def __init__(self) -> None:
        self.functions: dict[tuple[str, str], Function] = {}

    def train(self, name: str) -> Callable[[F], F]:
        """Register what trains a model for the handler ``name``."""
        return self._register(name, "train")

    def evaluate(self, name: str) -> Callable[[F], F]:
        """Register what evaluates a model for the handler ``name``."""
        return self._register(name, "evaluate")

    def query(self, name: str) -> Callable[[F], F]:
        """Register what answers the query ``name``; answers are summed over the devices."""
        return self._register(name, "query")

    def references(self) -> dict[str, dict[str, str]]:
        """Return ``module:function`` by handler and kind, as ``handlers.toml`` has it."""
        found: dict[str, dict[str, str]] = {}
        for (name, kind), function in self.functions.items():
            reference = f"{function.__module__}:{function.__qualname__}"
            found.setdefault(name, {})[kind] = reference
        return found

    def _register(self, name: str, kind: str) -> Callable[[F], F]:
        def register(function: F) -> F:
            if (name, kind) in self.functions:
                raise AppError(f"there is a function that does {kind} for {name!r} already")
            if not function.__qualname__.isidentifier():
                raise AppError(
                    f"{function.__qualname__} is inside another function or a class; the child that"
                    " runs it can import functions of a module only"
                )
            self.functions[name, kind] = function
            return function

        return register
