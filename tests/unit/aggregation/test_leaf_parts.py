"""The leaf's pure parts and files: order, batches, what is due, notes that outlive it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aggregation import sums
from aggregation.decoding import Encoding
from aggregation.leaf import holdings, messages
from aggregation.leaf.holdings import Folded, Holding
from aggregation.leaf.journal import Journal, Member
from aggregation.partials import FOLDABLE
from aggregation.strategies import STRATEGIES, WeightedSum
from propius import arrays

RECIPE = messages.Recipe(
    round="r", take=True, fold=True, strategy={"name": "fedavg"}, codecs=["fp32"], tensors={},
    base="b" * 64,
)  # fmt: skip


def said(number: int) -> messages.Update:
    return messages.Update(
        assignment=f"{number:036x}", ticket="t", digest=f"{number:064x}", size_bytes=1, weight=1.0
    )


def member(number: int) -> Member:
    return Member(number=number, round="r", said=said(number))


def holding(count: int) -> Holding:
    one = Holding(RECIPE)
    for number in reversed(range(count)):
        one.add(member(number), now=10.0)
    return one


def test_batches_are_cut_in_the_order_of_the_notes_and_the_rest_only_when_due():
    one = holding(5)
    first = one.batch(2, rest=False)
    assert [each.number for each in first] == [0, 1]
    one.fold(Folded(first, "x"))
    one.fold(Folded(one.batch(2, rest=False), "y"))
    assert one.batch(2, rest=False) == ()
    assert [each.number for each in one.batch(2, rest=True)] == [4]
    assert [each.number for each in one.members()] == [0, 1, 2, 3, 4]


def test_without_some_the_others_are_folded_anew():
    one = holding(4)
    batch = one.batch(2, rest=False)
    one.fold(Folded(batch, "x"))
    gone = one.without({member(1).assignment})
    assert [each.number for each in gone] == [1]
    assert (one.folded, [each.number for each in one.waiting]) == ([], [0, 2, 3])
    # The sum that was on its way while its member went is not taken.
    one.fold(Folded(batch, "x"))
    assert one.folded == []


def test_it_is_due_by_count_by_age_or_when_the_root_asks():
    one = holding(3)
    assert not one.is_due(now=11.0, count=4, age_s=5.0)
    assert one.is_due(now=11.0, count=3, age_s=5.0)
    assert one.is_due(now=15.0, count=4, age_s=5.0)
    one.wanted = True
    assert one.is_due(now=11.0, count=4, age_s=5.0)
    one.without({each.assignment for each in one.members()})
    assert not one.is_due(now=99.0, count=0, age_s=0.0)


def test_everything_that_a_sum_needs_is_pinned():
    one = holding(2)
    one.fold(Folded(one.batch(1, rest=False), "sum"))
    assert holdings.digests([one]) == {"sum", RECIPE.base, said(0).digest, said(1).digest}
    assert holdings.digests([Holding(RECIPE)]) == set()


def test_notes_outlive_the_process_in_order(tmp_path: Path):
    journal = Journal(tmp_path / "held")
    for number in (3, 1, 2):
        journal.add("r", said(number))
    journal.drop([said(1).assignment, "never-there"])
    later = Journal(tmp_path / "held")
    assert [one.said for one in later.read()] == [said(3), said(2)]
    assert later.add("r", said(9)).number == 4


def test_a_leafs_sum_has_the_bits_of_the_roots(tmp_path: Path):
    random = np.random.default_rng(3)
    paths, weights = [], [float(one) for one in random.uniform(1, 9, 10)]
    for number in range(10):
        values = {"w": random.standard_normal((7, 5)).astype(np.float32)}
        paths.append(tmp_path / str(number))
        arrays.save_file(values, paths[-1])
    encoding = Encoding("fp32", arrays.describe(values), tmp_path)
    parts = []
    for start in (0, 4, 8):
        data = bytearray()
        sums.fold(paths[start : start + 4], weights[start : start + 4], encoding, data.extend)
        parts.append(tmp_path / f"part{start}")
        parts[-1].write_bytes(data)
    merged = bytearray()
    sums.merge(parts, merged.extend)
    total = sum(arrays.load(part.read_bytes())["w"] for part in parts[1:])
    first = arrays.load(parts[0].read_bytes())["w"]
    wanted = first + arrays.load(parts[1].read_bytes())["w"]
    wanted = wanted + arrays.load(parts[2].read_bytes())["w"]
    assert arrays.load(bytes(merged))["w"].tobytes() == wanted.tobytes()
    np.testing.assert_allclose(wanted, first + total, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(FOLDABLE))
def test_what_leaves_fold_is_a_plain_weighted_sum(name):
    strategy = STRATEGIES[name]
    assert issubclass(strategy, WeightedSum)
    assert not strategy.by_steps
    assert not strategy.by_staleness
    # The root takes the weights of a sum from its holds, so the factor must be the weight itself.
    assert strategy.fold_weight is WeightedSum.fold_weight
