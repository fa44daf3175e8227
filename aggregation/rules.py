"""How each tensor of a model becomes the next version's, told by what the job names; no rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from propius import codec
from propius.strategies import CONTROL
from propius.tensors import TensorInfo

MEAN, SERVER, LOCAL = "mean", "server", "local"
Ruled = Mapping[str, tuple[TensorInfo, str]]


def ruled(given: Mapping[str, TensorInfo], said: Mapping[str, str], local: Iterable[str]) -> Ruled:
    """Return each tensor of a model with its rule.

    ``local`` tensors, by the job's patterns, are each device's own, and like ``server`` ones stay
    as they are here. Of the rest a program says ``mean`` or ``server`` itself. Without one, floats
    are averaged, and integers (counters, lookup tables), of which a mean means nothing, stay the
    server's.
    """
    patterns = list(local)
    tensors = {}
    # By name: Postgres keeps objects in an order of its own, and the order is in a sum's bytes.
    for name, info in sorted(given.items()):
        rule = said.get(name) or (MEAN if info.dtype in codec.FLOATS else SERVER)
        is_local = any(fnmatchcase(name, one) for one in patterns)
        tensors[name] = (info, LOCAL if is_local else rule)
    return tensors


def averaged(tensors: Ruled) -> dict[str, TensorInfo]:
    """Return the tensors of a model that updates are about."""
    return {name: info for name, (info, rule) in tensors.items() if rule == MEAN}


def controls(model: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Return the control variates of a model's tensors: as wide as they are summed."""
    return {
        f"{CONTROL}.{name}": TensorInfo("F64" if info.dtype == "F64" else "F32", info.shape)
        for name, info in model.items()
    }
