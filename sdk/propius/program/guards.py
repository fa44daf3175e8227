"""Checks before ops whose kernels trust the shapes of their arguments.

Most of torch's kernels check what they are given. These do not (tried on torch 2.13): with a
weight shorter than the channels they read, and some write, past the end of a tensor. A crafted
program would get at whatever else is in the process's memory. Without torch: shapes only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Guard = Callable[[Sequence[Any]], None]


def _batch_norm(args: Sequence[Any]) -> None:
    """``(input, weight, bias, running_mean, running_var, …)``, channels at dimension 1."""
    shape = tuple(args[0].shape)
    if len(shape) < 2:
        raise ValueError(f"input has shape {list(shape)}; at least 2 dimensions are needed")
    names = ("weight", "bias", "running_mean", "running_var")
    for name, tensor in zip(names, args[1:5], strict=True):
        _check(name, tensor, (shape[1],))


def _lstm(args: Sequence[Any]) -> None:
    states = args[1]
    if len(states) != 2:
        raise ValueError(f"{len(states)} states; an LSTM has 2")
    _recurrent(4, args, states)


def _gru(args: Sequence[Any]) -> None:
    _recurrent(3, args, [args[1]])


def _recurrent(gates: int, args: Sequence[Any], states: Sequence[Any]) -> None:
    """``(input, states, weights, has_biases, layers, dropout, train, two_ways, batch_first)``."""
    data, _, weights, has_biases, layers, _, _, two_ways, batch_first = args
    if len(data.shape) != 3 or layers < 1:
        raise ValueError(f"input has shape {list(data.shape)} and there are {layers} layers")
    ways, hidden = 2 if two_ways else 1, states[0].shape[-1]
    batch = data.shape[0 if batch_first else 1]
    for state in states:
        _check("state", state, (layers * ways, batch, hidden))
    each = 4 if has_biases else 2
    if len(weights) != layers * ways * each:
        raise ValueError(f"{len(weights)} weights; {layers * ways * each} are needed")
    rows = gates * hidden
    for number, tensor in enumerate(weights):
        features = data.shape[2] if number < ways * each else hidden * ways
        wanted = ((rows, features), (rows, hidden), (rows,), (rows,))[number % each]
        _check(f"weights[{number}]", tensor, wanted)
        if tensor.dtype != data.dtype:
            raise ValueError(f"weights[{number}] is {tensor.dtype}, the input {data.dtype}")


def _attention(args: Sequence[Any]) -> None:
    """``(query, key, value, mask, …)``: a value for each key, and a mask of both lengths."""
    query, key, value = (tuple(one.shape) for one in args[:3])
    if not len(query) == len(key) == len(value) >= 2 or query[-1] != key[-1]:
        raise ValueError(f"query {list(query)} and key {list(key)} do not fit")
    if key[:-1] != value[:-1]:
        raise ValueError(f"key {list(key)} and value {list(value)} differ in length")
    mask = args[3] if len(args) > 3 else None
    if mask is None:
        return
    whole = (*query[:-1], key[-2])
    shape = tuple(mask.shape)
    fits = len(shape) <= len(whole) and all(
        got in (1, want) for got, want in zip(shape[::-1], whole[::-1], strict=False)
    )
    if not fits:
        raise ValueError(f"mask {list(shape)} does not fit attention of shape {list(whole)}")


def _check(name: str, tensor: Any, wanted: tuple[int, ...]) -> None:
    if tensor is not None and tuple(tensor.shape) != wanted:
        raise ValueError(f"{name} has shape {list(tensor.shape)}; {list(wanted)} is needed")


GUARDS: Mapping[str, Guard] = {
    "aten._native_batch_norm_legit_no_training.default": _batch_norm,
    "aten._native_batch_norm_legit_functional.default": _batch_norm,
    "aten.lstm.input": _lstm,
    "aten.gru.input": _gru,
    "aten.scaled_dot_product_attention.default": _attention,
}


def guarded(op: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with the guard of ``op`` in front, if it has one."""
    guard = GUARDS.get(op)
    if guard is None:
        return function

    def call(*args: Any, **keywords: Any) -> Any:
        try:
            guard(args)
        except (AttributeError, TypeError) as error:
            raise ValueError("an argument is not what the op takes") from error
        return function(*args, **keywords)

    return call
