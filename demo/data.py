"""The demo's data: what ships inside scikit-learn, dealt out non-IID, with a test split kept back.

Each class is dealt to the devices by shares drawn from Dirichlet(α), as in Hsu, Qi and Brown,
*Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification*
(arXiv 1909.06335). No device ever has an example of the test split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.5
SEED = 7
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.2

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs, float32 of shape ``(n, features)``, and labels, int64 of shape ``(n,)``."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: Array) -> Examples:
        """Return the chosen examples."""
        return Examples(self.x[chosen], self.y[chosen])


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the devices share between them, and what none of them has."""

    train: Examples
    test: Examples


def digits() -> Dataset:
    """Return 1797 handwritten digits of 8 × 8 pixels, flat, about standardised; ten classes."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split(((x - 4.9) / 6.0).astype(np.float32), y.astype(np.int64))


def breast_cancer() -> Dataset:
    """Return 569 measurements of tumours, 30 standardised features; two classes."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return _split(x.astype(np.float32), y.astype(np.int64))


def _split(x: Array, y: Array) -> Dataset:
    """Keep a share of every class back for the test."""
    rng = np.random.default_rng(SEED)
    test = np.concatenate(
        [
            rng.permutation(members)[: round(len(members) * TEST_SHARE)]
            for members in (np.flatnonzero(y == label) for label in np.unique(y))
        ]
    )
    train = np.setdiff1d(np.arange(len(y)), test)
    whole = Examples(x, y)
    return Dataset(train=whole.take(rng.permutation(train)), test=whole.take(test))


def deal(labels: Array, devices: int, *, least: int, alpha: float = ALPHA) -> list[Array]:
    """Deal examples out by class, in shares drawn from Dirichlet(α).

    Parameters
    ----------
    labels
        Class of each example, shape ``(n,)``.
    devices
        How many hands.
    least
        Fewest examples in a hand; a hand short of it is topped up from the largest one.

    Returns
    -------
    list of arrays
        For each device the indices of its examples; together all of them, each once.

    Examples
    --------
    >>> hands = deal(np.array([0, 1] * 50), 4, least=5)
    >>> sorted(np.concatenate(hands).tolist()) == list(range(100))
    True
    """
    if len(labels) < devices * least:
        raise ValueError(f"{len(labels)} examples do not give {devices} devices {least} each")
    rng = np.random.default_rng(SEED)
    hands: list[list[Array]] = [[] for _ in range(devices)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(devices, alpha))
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for hand, part in zip(hands, np.split(members, cuts), strict=True):
            hand.append(part)
    dealt = [rng.permutation(np.concatenate(hand)) for hand in hands]
    _top_up(dealt, least)
    return dealt


def _top_up(hands: list[Array], least: int) -> None:
    for index, hand in enumerate(hands):
        while (missing := least - len(hand)) > 0:
            largest = max(range(len(hands)), key=lambda one: len(hands[one]))
            given, kept = np.split(hands[largest], [min(missing, len(hands[largest]) - least)])
            hands[largest] = kept
            hand = hands[index] = np.concatenate([hand, given])


def write(path: Path, hand: Examples) -> None:
    """Write a device's examples as its data set: a training and a validation split."""
    held_back = max(1, round(len(hand) * VALIDATION_SHARE))
    np.savez(
        path,
        x_train=hand.x[held_back:],
        y_train=hand.y[held_back:],
        x_val=hand.x[:held_back],
        y_val=hand.y[:held_back],
    )
