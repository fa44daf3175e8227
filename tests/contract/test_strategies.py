"""What every strategy must keep to; one suite runs over all of them."""

import numpy as np
import pytest
import torch

from aggregation import strategies
from aggregation.strategies import STRATEGIES, Sum

NAMES = sorted(STRATEGIES)


def summed(updates, weights):
    total = sum(
        weight * update.to(torch.promote_types(update.dtype, torch.float32))
        for weight, update in zip(weights, updates, strict=True)
    )
    return Sum(total, float(sum(weights)), len(updates))


def make(seed=0, shape=(3, 4), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("name", NAMES)
class TestEveryStrategy:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
    def test_it_keeps_shape_and_dtype(self, name, dtype, shape):
        base = make(0, shape, dtype)
        new, _ = strategies.build(name, {}).step(
            "w", base, summed([make(1, shape, dtype)], [3]), {}
        )
        assert (new.shape, new.dtype) == (base.shape, base.dtype)

    def test_it_does_not_change_its_inputs_but_the_sum(self, name):
        base = make(0)
        before = base.clone()
        strategies.build(name, {}).step("w", base, summed([make(1)], [3]), {})
        assert torch.equal(base, before)

    def test_it_gives_the_same_bits_again(self, name):
        results = [
            strategies.build(name, {}).step("w", make(0), summed([make(1), make(2)], [3, 5]), {})[0]
            for _ in range(2)
        ]
        assert torch.equal(*results)

    def test_devices_that_learnt_nothing_leave_the_model_as_it_is(self, name):
        base = make(0)
        new, _ = strategies.build(name, {}).step("w", base, summed([base] * 3, [1, 2, 5]), {})
        torch.testing.assert_close(new, base)

    def test_only_shares_of_weight_matter(self, name):
        updates = [make(1), make(2)]
        one, _ = strategies.build(name, {}).step("w", make(0), summed(updates, [1, 3]), {})
        ten, _ = strategies.build(name, {}).step("w", make(0), summed(updates, [10, 30]), {})
        torch.testing.assert_close(one, ten)

    def test_its_state_goes_through_a_file(self, name):
        state = {}
        for seed in range(3):
            new, state = strategies.build(name, {}).step(
                "w", make(0), summed([make(seed)], [1]), state
            )
            assert all(isinstance(key, str) and "/" not in key for key in state)
            assert all(torch.isfinite(value).all() for value in state.values())
        assert torch.isfinite(new).all()

    def test_it_refuses_an_unknown_setting_by_name(self, name):
        with pytest.raises(strategies.StrategyError, match="no_such_setting"):
            strategies.build(name, {"no_such_setting": 1})


def test_an_unknown_strategy_is_refused_with_those_there_are():
    with pytest.raises(strategies.StrategyError, match=f"allowed: {', '.join(NAMES)}"):
        strategies.build("fedmagic", {})


def test_fedavg_is_the_mean_weighted_by_examples():
    updates = [torch.tensor([1.0, 10.0]), torch.tensor([2.0, 20.0]), torch.tensor([4.0, 0.0])]
    # (1·10 + 2·20 + 4·10) / 40 and (10·10 + 20·20 + 0) / 40
    new, state = strategies.build("fedavg", {}).step(
        "w", torch.zeros(2), summed(updates, [10, 20, 10]), {}
    )
    np.testing.assert_array_equal(new.numpy(), np.array([2.25, 12.5], np.float32))
    assert state == {}
