"""Makes an update out of trained tensors, and remembers for the job's next round what stays here.

A job's memory is one safetensors file with ``local/<name>``, tensors that never travel (FedBN),
``residual/<name>``, what a codec left out and the next update makes up for (error feedback), and
``control/<name>``, this device's control variate (SCAFFOLD). It is written beside the update and
becomes the job's once the platform has accepted that.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path

import numpy as np

from propius import arrays, codec
from propius.adaptive import Adaptive, allowed_codecs
from propius.agent import controls
from propius.agent.trainer import LocalWork, TrainingError
from propius.arrays import Array
from propius.program import container
from propius.strategies import CONTROL
from propius.tensors import ITEM_BYTES, TensorError, read_header

LOCAL, RESIDUAL, OWN_CONTROL = "local/", "residual/", "control/"


def start(work: LocalWork, into: Path) -> Path:
    """Return the parameters to begin with: the platform's, with this device's local tensors."""
    kept = _memory(work, LOCAL)
    if not kept:
        return work.parameters
    given = arrays.load(work.parameters)
    arrays.save_file(given | _fitting(kept, given), into)
    return into


def write_correction(work: LocalWork, into: Path) -> Path | None:
    """Write what control variates add to each gradient; None if this work has none."""
    if not controls.are_used(work):
        return None
    given = arrays.load(work.parameters)
    told, own = controls.told(work.control), _control(work, given)
    arrays.save_file(controls.correction(told, own), into)
    return into


def write(work: LocalWork, trained: Path, *, walked: float = 0.0) -> None:
    """Write the update, as the assignment's codec has it, and what is to be remembered.

    ``walked`` is the sum of the learning rates of the steps, which control variates need.

    Raises
    ------
    TrainingError
        If the update is larger than allowed.
    TensorError
        If a value does not fit the codec.
    """
    chosen = codec.get(work.plan.codec if work.plan else work.assignment.codec)
    tensors = arrays.load(trained)
    patterns = _patterns(work)
    memory = {LOCAL + name: one for name, one in tensors.items() if _matches(name, patterns)}
    tensors = _averaged(work, tensors)
    if controls.are_used(work):
        change, own = _controls(work, tensors, walked)
        tensors |= {f"{CONTROL}.{name}": one for name, one in change.items()}
        memory |= {OWN_CONTROL + name: one for name, one in own.items()}
    if chosen.difference:
        tensors = _differences(work, tensors)
    if chosen.remembers:
        residual = _fitting(_memory(work, RESIDUAL), tensors)
        tensors = {name: one + residual[name] if name in residual else one
                   for name, one in tensors.items()}  # fmt: skip
    sent = codec.encode(tensors, codec=chosen.name)
    if chosen.remembers:
        back = codec.decode(sent, codec=chosen.name, expected=arrays.describe(tensors))
        memory |= {RESIDUAL + name: one - back[name] for name, one in tensors.items()}
    content = arrays.save(sent)
    if len(content) > work.assignment.max_update_bytes:
        raise TrainingError(
            "update_too_large",
            f"the update has {len(content)} bytes; at most {work.assignment.max_update_bytes}",
        )
    if memory and work.remembered is not None:
        arrays.save_file(memory, work.remembered)
    work.output.write_bytes(content)


def sizes(work: LocalWork, adaptive: Adaptive) -> dict[str, float]:
    """Return how many bytes the update would have, by codec, in the job's order."""
    model = read_header(work.parameters)
    chosen = set(
        travelling(work, {name: info.dtype in codec.FLOATS for name, info in model.items()})
    )
    kept = {name: info for name, info in model.items() if name in chosen}
    return {
        name: float(
            sum(
                prod(info.shape) * ITEM_BYTES[info.dtype]
                for info in codec.on_the_wire(kept, codec=name).values()
            )
        )
        for name in allowed_codecs(work.assignment.codec, adaptive.codecs)
    }


def travelling(work: LocalWork, floats: Mapping[str, bool]) -> list[str]:
    """Return the tensors that travel, of those whose names say whether they are floats."""
    if work.program is not None:
        rules = container.load(work.program).rules()
        names = [name for name in floats if rules.get(name) == "mean"]
    else:
        names = [name for name, is_float in floats.items() if is_float]
    patterns = _patterns(work)
    return [name for name in names if not _matches(name, patterns)]


def _averaged(work: LocalWork, tensors: Mapping[str, Array]) -> dict[str, Array]:
    floats = {name: array.dtype.kind == "f" for name, array in tensors.items()}
    return {name: tensors[name] for name in travelling(work, floats)}


def _controls(
    work: LocalWork, after: Mapping[str, Array], walked: float
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return how this device's control variate changes, and what it is then."""
    assert work.program is not None, "the job file's check lets only programs have one"
    before = arrays.load(work.parameters)
    change = controls.changes(
        before, after, controls.told(work.control), walked=walked,
        trained=controls.trained(work.program),
    )  # fmt: skip
    return change, controls.renewed(_control(work, before), change)


def _control(work: LocalWork, given: Mapping[str, Array]) -> dict[str, Array]:
    # Of another shape it is of another model: then this device begins again, from zero.
    kept = _memory(work, OWN_CONTROL)
    return {
        name: one for name, one in kept.items() if name in given and one.shape == given[name].shape
    }


def _differences(work: LocalWork, tensors: Mapping[str, Array]) -> dict[str, Array]:
    base = arrays.load(work.parameters)
    result = {}
    for name, array in tensors.items():
        before = base.get(name)
        if before is None or before.shape != array.shape:
            raise TensorError(
                "tensor_mismatch", f"tensors.{name}", f"{name!r} is not in the model as trained"
            )
        wide = np.promote_types(array.dtype, np.float32)
        result[name] = array.astype(wide) - before.astype(wide)
    return result


def _memory(work: LocalWork, part: str) -> dict[str, Array]:
    if work.memory is None or not work.memory.exists():
        return {}
    kept = arrays.load(work.memory)
    return {name[len(part) :]: one for name, one in kept.items() if name.startswith(part)}


def _fitting(kept: Mapping[str, Array], given: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name: one
        for name, one in kept.items()
        if name in given and (one.shape, one.dtype) == (given[name].shape, given[name].dtype)
    }


def _patterns(work: LocalWork) -> list[str]:
    return [str(one) for one in work.assignment.workload.get("local", ())]


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
