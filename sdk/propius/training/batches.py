"""Which examples go into which batch, and checks of a device's arrays; without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from propius.arrays import Array, dtype_code
from propius.program.schema import Input, Manifest
from propius.training.config import TrainConfig


class DataError(ValueError):
    """A device's data does not fit the workload; ``field`` is the array."""

    code = "data_mismatch"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def checked(manifest: Manifest, data: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """The program's inputs out of a device's arrays, and how many examples there are.

    Raises
    ------
    DataError
        Naming the array, what it is and what is expected.
    """
    chosen = {}
    examples: int | None = None
    for item in manifest.inputs:
        array = data.get(item.name)
        if array is None:
            raise DataError(
                f"data.{item.name}",
                f"the data set has no such array; it has {', '.join(sorted(data)) or 'none'}",
            )
        _check_array(item, array)
        if examples is not None and len(array) != examples:
            raise DataError(
                f"data.{item.name}", f"it has {len(array)} examples, others have {examples}"
            )
        examples = len(array)
        chosen[item.name] = array
    if not examples:
        raise DataError("data", "there are no examples")
    return chosen, examples


def _check_array(item: Input, array: Array) -> None:
    field = f"data.{item.name}"
    code = dtype_code(array.dtype)
    if code != item.dtype:
        raise DataError(field, f"its dtype is {code}, expected {item.dtype}")
    fits = array.ndim == len(item.shape) and all(
        isinstance(want, str) or got == want
        for got, want in zip(array.shape[1:], item.shape[1:], strict=True)
    )
    if not fits or array.ndim == 0:
        raise DataError(field, f"its shape is {list(array.shape)}, expected {item.shape}")


def shuffled(examples: int, config: TrainConfig, rng: np.random.Generator) -> Iterator[Array]:
    """Indices of each training batch: shuffled anew in each epoch.

    A last batch of one example joins the one before: batch normalisation cannot train on one.

    Examples
    --------
    >>> config = TrainConfig(batch_size=2, epochs=1)
    >>> [len(batch) for batch in shuffled(5, config, np.random.default_rng(0))]
    [2, 3]
    """
    epoch = steps = 0
    while config.local_steps is not None or epoch < config.epochs:
        order = rng.permutation(examples)
        for begin, end in spans(examples, config.batch_size):
            if steps == config.local_steps:
                return
            yield order[begin:end]
            steps += 1
        epoch += 1


def count(examples: int, config: TrainConfig) -> int:
    """How many batches :func:`shuffled` gives."""
    if config.local_steps is not None:
        return config.local_steps
    return config.epochs * len(spans(examples, config.batch_size))


def spans(examples: int, size: int) -> list[tuple[int, int]]:
    """Begin and end of each batch, in order; a last one of one example joins the one before."""
    begins = list(range(0, examples, size))
    if len(begins) > 1 and examples - begins[-1] == 1:
        begins.pop()
    return list(zip(begins, [*begins[1:], examples], strict=True))
