"""Norms over the heads of tensors, by hand, whatever codec an update came in."""

import numpy as np
import pytest

from aggregation import measuring
from aggregation.decoding import Encoding
from aggregation.recipe import Report
from propius import arrays, codec
from propius.tensors import TensorInfo

BIG = 100_000
MODEL = {
    "big": TensorInfo("F32", (BIG,)),
    "rows": TensorInfo("F32", (3, 40_000)),
    "small": TensorInfo("F32", (2, 2)),
}


@pytest.fixture
def norm(tmp_path):
    base = {name: np.full(one.shape, 3, np.float32) for name, one in MODEL.items()}
    (tmp_path / "base").write_bytes(arrays.save(base))

    def of(change, *, name, others=()):
        is_difference = codec.get(name).difference
        whole = {key: part if is_difference else part + base[key] for key, part in change.items()}
        (tmp_path / "update").write_bytes(arrays.save(codec.encode(whole, codec=name)))
        encoding = Encoding(others[0] if others else name, MODEL, tmp_path / "base", others[1:])
        report = Report(tmp_path / "update", 1.0, {})
        [found] = measuring.norms([report], encoding)
        return found

    return of


def change(big=0.0, rows=0.0, small=0.0, rest=0.0):
    """A change of one value in each head, and ``rest`` behind it."""
    made = {name: np.full(one.shape, rest, np.float32) for name, one in MODEL.items()}
    made["big"][: 1 << 16] = big
    # Whole channels: one of 40 000 elements fits.
    made["rows"][0] = rows
    made["small"][:] = small
    return made


@pytest.mark.parametrize("name", ["fp32", "fp16", "delta-fp16", "delta-int8"])
def test_it_is_that_of_the_heads_together_whatever_comes_behind(norm, name):
    # √(65 536 · 2² + 40 000 · 1² + 4 · 50²) = √312 144
    found = norm(change(big=2.0, rows=1.0, small=50.0, rest=1.0), name=name)
    assert found == pytest.approx(312_144**0.5, rel=5e-3)


def test_of_a_sparse_update_only_what_lies_in_the_heads_counts(norm):
    # A tenth of each tensor travels: what changed most, here in the heads.
    made = change()
    made["big"][:10_000] = 3.0
    made["rows"][0, :12_000] = 4.0
    found = norm(made, name="topk10")
    assert found == pytest.approx((10_000 * 9 + 12_000 * 16) ** 0.5)
    made["big"][:] = 0.0
    made["big"][90_000:] = 1e6
    assert norm(made, name="topk10") == pytest.approx((12_000 * 16) ** 0.5)


def test_updates_in_different_codecs_of_a_job_compare(norm):
    made = change()
    made["big"][:5_000] = 3.0
    names = ("topk10", "delta-fp16")
    assert norm(made, name="topk10", others=names) == norm(made, name="delta-fp16", others=names)
