"""Fold on a leaf what the root would fold, by the same code and to the same bits.

The only part of a leaf that imports torch, and only when there is something to fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aggregation import blobs
from aggregation.leaf.journal import Member
from aggregation.leaf.messages import Recipe
from propius.strategies import STEPS
from propius.tensors import TensorInfo


def wanted(recipe: Recipe) -> dict[str, TensorInfo]:
    """Return the averaged tensors of the recipe's model."""
    return {
        name: TensorInfo(one["dtype"], tuple(one["shape"])) for name, one in recipe.tensors.items()
    }


def fold(recipe: Recipe, members: Sequence[Member], base: Path | None) -> str:
    """Store the weighted sum of one batch; returns its digest.

    Raises what ``aggregation.folding.BROKEN`` names.
    """
    from aggregation import strategies, sums
    from aggregation.decoding import Encoding

    settings: dict[str, Any] = dict(recipe.strategy)
    strategy = strategies.build(settings.pop("name"), settings)
    assert isinstance(strategy, strategies.WeightedSum)
    weights = [
        strategy.fold_weight(one.said.weight, one.said.metrics.get(STEPS, 1.0)) for one in members
    ]
    encoding = Encoding(
        codec=recipe.codecs[0],
        tensors=wanted(recipe),
        base=base or Path(),
        others=tuple(recipe.codecs[1:]),
    )
    store = blobs.store()
    paths = [store.path(one.said.digest) for one in members]
    with store.writer() as writer:
        sums.fold(paths, weights, encoding, writer.write)
        return writer.commit()


def merge(digests: Sequence[str]) -> str:
    """Store the sum of batches' sums, in order; returns its digest."""
    if len(digests) == 1:
        return digests[0]
    from aggregation import sums

    store = blobs.store()
    with store.writer() as writer:
        sums.merge([store.path(one) for one in digests], writer.write)
        return writer.commit()
