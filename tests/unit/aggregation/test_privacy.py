"""Differential privacy: clipping and noise by hand, ε against the closed form of its bound."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import privacy
from aggregation.decoding import Encoding
from propius import arrays, codec, tensors
from propius.privacy import AdaptiveClip, FixedClip, Privacy

FIXED = Privacy(clip=FixedClip(norm=2.0), noise_multiplier=1.5)


def folded(folder, changes, norm, name="fp32"):
    base = {"w": np.full(2, 10, np.float32), "b": np.zeros((1, 1), np.float32)}
    arrays.save_file(base, folder / "base")
    paths = []
    for number, (w, b) in enumerate(changes):
        one = {"w": np.array(w, np.float32), "b": np.full((1, 1), b, np.float32)}
        if not codec.get(name).difference:
            one = {key: base[key] + value for key, value in one.items()}
        paths.append(folder / f"u{number}")
        arrays.save_file(codec.encode(one, codec=name), paths[-1])
    encoding = Encoding(name, tensors.read_header(folder / "base"), folder / "base")
    with (folder / "sum").open("wb") as file:
        below = privacy.fold(paths, norm, encoding, file.write)
    return below, arrays.load(folder / "sum")


@pytest.mark.parametrize("name", ["fp32", "bf16", "delta-int8", "topk10"])
def test_an_update_is_clipped_by_the_norm_of_all_its_tensors(tmp_path, name):
    # Norms 5 and ½: the first shrinks to 2/5, the second stays.
    changes = [([3.0, 0.0], 4.0), ([0.0, 0.5], 0.0)]
    if name == "topk10":
        changes = [([3.0, 0.0], 4.0), ([0.5, 0.0], 0.0)]
    below, total = folded(tmp_path, changes, 2.0, name)
    assert below == 1
    first = [1.2, 0.5] if name != "topk10" else [1.7, 0]
    np.testing.assert_allclose(total["w"], first, rtol=0.02)
    np.testing.assert_allclose(total["b"], [[1.6]], rtol=0.02)


def test_no_single_update_moves_the_sum_by_more_than_the_norm(tmp_path):
    for value in (1e-3, 1.0, 1e6, 1e30):
        _, total = folded(tmp_path, [([value, value], value)], 0.7)
        length = math.sqrt(
            sum(float(np.square(one.astype(np.float64)).sum()) for one in total.values())
        )
        assert length <= 0.7


def test_the_noise_has_the_deviation_that_it_says():
    mechanism = privacy.Mechanism(FIXED, norm=2.0, demand=100)
    total = torch.full((400, 500), 7.0)
    mechanism.noise(total, np.random.default_rng(1))
    assert mechanism.deviation == 3.0
    assert total.mean().item() == pytest.approx(7.0, abs=0.05)
    assert total.std().item() == pytest.approx(3.0, rel=0.01)


def test_every_round_draws_other_noise():
    one, two = (privacy.entropy().standard_normal(8) for _ in range(2))
    assert not np.array_equal(one, two)


def test_the_adaptive_norm_finds_the_quantile():
    norms = np.linspace(0.01, 4.0, 200)
    asked = Privacy(clip=AdaptiveClip(norm=0.1, quantile=0.5), noise_multiplier=1.0)
    rng, norm = np.random.default_rng(0), 0.1
    for _ in range(60):
        mechanism = privacy.Mechanism(asked, norm, demand=200)
        norm = mechanism.next_norm(float((norms <= norm).sum()), 200, rng)
    assert norm == pytest.approx(2.0, rel=0.2)


def test_a_step_of_the_adaptive_norm_by_hand():
    class Silent:
        def normal(self, mean, deviation):
            assert deviation == 5.0  # demand / 20
            return 0.0

    asked = Privacy(clip=AdaptiveClip(norm=1.0, quantile=0.5, rate=0.2), noise_multiplier=1.0)
    mechanism = privacy.Mechanism(asked, 1.0, demand=100)
    assert mechanism.next_norm(80, 100, Silent()) == pytest.approx(math.exp(-0.2 * 0.3))
    # Theorem 1: (1 − 1/10²)^(−½)
    assert mechanism.deviation == pytest.approx((1 - 0.01) ** -0.5)


def test_epsilon_is_that_of_gaussians_composed():
    # Rényi of order α: k·α/(2z²); ε = min over α of that + ln(1/δ)/(α − 1), at most.
    z, releases, delta = 4.0, 20, 1e-5
    orders = np.linspace(1.1, 100, 5000)
    bound = (releases * orders / (2 * z * z) + math.log(1 / delta) / (orders - 1)).min()
    found = privacy.epsilon(z, releases, delta)
    assert 0.7 * bound < found <= bound * 1.001


@given(st.floats(0.5, 20), st.integers(1, 200))
@settings(max_examples=20, deadline=None)
def test_epsilon_grows_with_rounds_and_shrinks_with_noise(z, releases):
    here = privacy.epsilon(z, releases, 1e-5)
    assert privacy.epsilon(z, releases + 1, 1e-5) > here > privacy.epsilon(2 * z, releases, 1e-5)
