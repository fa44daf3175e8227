"""SCAFFOLD on the device: what corrects its gradients, and its control variate after training.

A control variate is an estimate of a gradient, a tensor for each that travels: c the fleet's, from
the platform with the parameters, and cᵢ this device's own, which it remembers from round to round.
What was not told or is not remembered is zero, and tensors that are not trained have none.

References
----------
Karimireddy et al., *SCAFFOLD: Stochastic Controlled Averaging for Federated Learning*, ICML 2020,
algorithm 1, option II (arXiv 1910.06378).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from propius import arrays
from propius.agent.trainer import LocalWork
from propius.arrays import Array
from propius.program import container
from propius.strategies import CONTROL

Arrays = dict[str, Array]


def are_used(work: LocalWork) -> bool:
    """Tell whether this work trains with control variates."""
    train = work.assignment.workload.get("train") or {}
    return work.assignment.kind == "train" and bool(train.get("control_variates"))


def told(path: Path | None) -> Arrays:
    """Return c by tensor, as the platform sent it; empty before its first step."""
    if path is None:
        return {}
    ending = f"/{CONTROL}"
    return {name.removesuffix(ending): one for name, one in arrays.load(path).items()}


def correction(control: Mapping[str, Array], own: Mapping[str, Array]) -> Arrays:
    """Return c − cᵢ, which is added to each gradient."""
    names = {*control, *own}
    return {name: np.asarray(control.get(name, 0) - own.get(name, 0)) for name in names}


def changes(
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    control: Mapping[str, Array],
    *,
    walked: float,
    trained: set[str],
) -> Arrays:
    """Return Δcᵢ = (x − y)/(K·η) − c, from x before and y after training.

    Parameters
    ----------
    before, after
        The tensors that travel, alike in names and shapes.
    control
        c by tensor.
    walked
        K·η, the sum of the steps' learning rates.
    trained
        Names of tensors that gradients moved; the others' changes are zero.

    Returns
    -------
    dict
        A float32 tensor for each of ``after`` (float64 for float64).
    """
    result = {}
    for name, array in after.items():
        wide = np.promote_types(array.dtype, np.float32)
        result[name] = np.zeros(array.shape, wide)
        if name in trained:
            mean = (before[name].astype(wide) - array.astype(wide)) / wide.type(walked)
            result[name] = np.asarray(mean - control.get(name, wide.type(0)))
    return result


def renewed(own: Mapping[str, Array], change: Mapping[str, Array]) -> Arrays:
    """Return cᵢ⁺ = cᵢ + Δcᵢ."""
    return {name: np.asarray(own.get(name, 0) + one) for name, one in change.items()}


def trained(program: Path) -> set[str]:
    """Return the tensors that gradients move."""
    return {one.name for one in container.load(program).manifest.parameters if one.trainable}
