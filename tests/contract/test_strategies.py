"""What every strategy must keep to; one suite runs over all of them, on files as workers do."""

import typing

import msgspec
import pytest
import torch

from aggregation import changes as summed_changes
from aggregation import strategies
from aggregation.decoding import Encoding
from aggregation.strategies import STRATEGIES, AllUpdates, Sum, WeightedSum
from propius.strategies import AnyStrategy
from tests.contract.updates import Rounds, describe, read, write

NAMES = sorted(STRATEGIES)
ROBUST = [name for name in NAMES if issubclass(STRATEGIES[name], AllUpdates)]
NEEDED = {"scaffold": {"population": 10}}
"""Settings without a default."""
SUMS = [name for name in NAMES if issubclass(STRATEGIES[name], WeightedSum)]


def make(seed=0, shape=(3, 4), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def cohort(count=5, shape=(3, 4), dtype=torch.float32):
    return [{"w": make(seed, shape, dtype)} for seed in range(1, count + 1)]


def rounds(folder, name, model, rules=None, **config):
    return Rounds(folder, build(name, **config), model, rules or {})


def build(name, **config):
    return strategies.build(name, NEEDED.get(name, {}) | config)


@pytest.mark.parametrize("name", NAMES)
class TestEveryStrategy:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    def test_it_keeps_shapes_and_dtypes(self, name, dtype, tmp_path):
        shapes = {"a": (), "b": (0,), "c": (5,), "d": (2, 3, 4)}
        base = {key: make(0, shape, dtype) for key, shape in shapes.items()}
        updates = [{k: make(n, one, dtype) for k, one in shapes.items()} for n in range(1, 6)]
        new = rounds(tmp_path, name, base).run(updates)
        assert {k: (v.shape, v.dtype) for k, v in new.items()} == {
            k: (v.shape, v.dtype) for k, v in base.items()
        }

    def test_it_gives_the_same_bits_again(self, name, tmp_path):
        runs = [rounds(tmp_path, name, {"w": make(0)}) for _ in range(2)]
        one, two = ([run.run(cohort(), [3, 5, 1, 2, 9])["w"] for _ in range(3)] for run in runs)
        assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))

    def test_devices_that_learnt_nothing_leave_the_model_as_it_is(self, name, tmp_path):
        new = rounds(tmp_path, name, {"w": make(0)}).run([{"w": make(0)}] * 5, [1, 2, 5, 1, 1])
        torch.testing.assert_close(new["w"], make(0))

    def test_only_shares_of_weight_matter(self, name, tmp_path):
        one = rounds(tmp_path, name, {"w": make(0)}).run(cohort(), [1, 3, 2, 1, 1])
        ten = rounds(tmp_path, name, {"w": make(0)}).run(cohort(), [10, 30, 20, 10, 10])
        torch.testing.assert_close(one, ten)

    def test_it_follows_the_devices(self, name, tmp_path):
        running = rounds(tmp_path, name, {"w": torch.zeros(4)})
        aim = torch.full((4,), 0.5)
        for _ in range(20):
            start = running.model["w"]
            running.run([{"w": start + 0.3 * (aim - start)}] * 5)
        torch.testing.assert_close(running.model["w"], aim, atol=0.2, rtol=0)

    def test_its_state_fits_the_model_and_stays_finite(self, name, tmp_path):
        running = rounds(tmp_path, name, {"w": make(0), "v": make(9, (7,))})
        for seed in range(3):
            running.run([{"w": make(seed + n), "v": make(n, (7,))} for n in range(5)])
        assert all(torch.isfinite(one).all() for one in running.model.values())
        keeps = getattr(running.strategy, "keeps", ())
        assert (running.state is not None) == bool(keeps)
        if running.state is not None:
            kept = read(running.state)
            assert set(kept) == {f"{tensor}/{key}" for tensor in "wv" for key in keeps}
            assert all(torch.isfinite(value).all() for value in kept.values())
            assert all(kept[f"v/{key}"].shape == (7,) for key in keeps)

    @pytest.mark.parametrize("rule", ["server", "local"])
    def test_only_averaged_tensors_change(self, name, rule, tmp_path):
        model = {"w": make(0), "bn": make(5), "steps": torch.tensor(7)}
        running = rounds(tmp_path, name, model, {"bn": rule, "steps": "server"})
        new = running.run(cohort())
        assert torch.equal(new["bn"], make(5))
        assert new["steps"] == 7
        assert not torch.equal(new["w"], make(0))

    def test_its_settings_are_those_of_the_job_file(self, name):
        known = {one.__struct_config__.tag: one for one in typing.get_args(AnyStrategy)}
        built = build(name)
        assert isinstance(built, known[name])
        plain = msgspec.to_builtins(known[name](**NEEDED.get(name, {})))
        assert strategies.build(plain.pop("name"), plain) == built

    def test_it_refuses_an_unknown_setting_by_name(self, name):
        with pytest.raises(strategies.StrategyError, match="no_such_setting"):
            build(name, no_such_setting=1)


def test_the_job_file_knows_all_strategies_and_no_other():
    assert {one.__struct_config__.tag for one in typing.get_args(AnyStrategy)} == set(STRATEGIES)


def test_an_unknown_strategy_is_refused_with_those_there_are():
    with pytest.raises(strategies.StrategyError, match=f"allowed: {', '.join(NAMES)}"):
        strategies.build("fedmagic", {})


@pytest.mark.parametrize("name", SUMS)
def test_a_step_does_not_change_its_inputs_but_the_sum(name):
    strategy = build(name)
    base, state = make(0), {key: make(4).abs() for key in STRATEGIES[name].keeps}
    before = {key: value.clone() for key, value in state.items()}
    groups = {key: make(5) for key in STRATEGIES[name].groups}
    strategy.step("w", base, Sum(make(1) * 3, 3.0, 2, groups=groups), state)
    assert torch.equal(base, make(0))
    assert all(torch.equal(state[key], before[key]) for key in state)


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fednova"])
def test_averages_are_weighted_by_examples(name, tmp_path):
    updates = [{"w": torch.tensor(one)} for one in ([1.0, 10.0], [2.0, 20.0], [4.0, 0.0])]
    # (1·10 + 2·20 + 4·10) / 40 and (10·10 + 20·20 + 0) / 40
    new = rounds(tmp_path, name, {"w": torch.zeros(2)}).run(updates, [10, 20, 10])
    assert new["w"].tolist() == [2.25, 12.5]


def test_fednova_divides_each_change_by_its_steps(tmp_path):
    running = rounds(tmp_path, "fednova", {"w": torch.tensor([1.0])})
    # Examples 1 and 3, steps 2 and 10, changes 2 and 20, so 1 and 2 a step.
    new = running.run([{"w": torch.tensor([3.0])}, {"w": torch.tensor([21.0])}], [1, 3], [2, 10])
    # τ_eff = (1·2 + 3·10)/4 = 8; Σ pᵢ·Δᵢ/τᵢ = (1·1 + 3·2)/4 = 1.75; 1 + 8·1.75
    assert new["w"].item() == pytest.approx(15.0)


def test_scaffold_steps_the_model_and_the_control_variate(tmp_path):
    """With x = 1, η_g = 0.5, N = 8, the numbers of the paper's algorithm 1, line 16 and 17."""
    settings = {"learning_rate": 0.5, "population": 8}
    running = rounds(tmp_path, "scaffold", {"w": torch.tensor([1.0])}, **settings)
    first = [(3.0, 4.0), (5.0, 8.0), (1.0, -2.0)]
    sent = [{"w": torch.tensor([y]), "control.w": torch.tensor([c])} for y, c in first]
    # Examples count for nothing: 1 + 0.5 · (2 + 4 + 0)/3 = 2, and c = (4 + 8 − 2)/8.
    assert running.run(sent, [1, 100, 7])["w"].tolist() == [2.0]
    assert read(running.state)["w/control"].tolist() == [1.25]
    sent = [{"w": torch.tensor([6.0]), "control.w": torch.tensor([-6.0])}]
    # 2 + 0.5 · 4, and 1.25 − 6/8: one device of eight.
    assert running.run(sent)["w"].tolist() == [4.0]
    assert read(running.state)["w/control"].tolist() == [0.5]


def test_fedbuff_goes_along_the_mean_change_the_older_the_less(tmp_path):
    newest, older = {"w": torch.tensor([3.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}
    bases = [write(tmp_path / f"base{n}", one) for n, one in enumerate((newest, older))]
    sent = [torch.tensor([5.0, 1.0]), torch.tensor([9.0, 5.0]), torch.tensor([1.0, 3.0])]
    paths = [write(tmp_path / f"u{n}", {"w": one}) for n, one in enumerate(sent)]
    strategy = strategies.build("fedbuff", {"learning_rate": 0.5, "staleness_exponent": 1.0})
    # The first began from the newest version, the others from one that is three steps old.
    factors = [strategy.discount(one) for one in (0, 3, 3)]
    assert factors == [1.0, 0.25, 0.25]
    encoding = Encoding("fp32", {"w": describe(sent[0])}, bases[0])
    with (tmp_path / "sum").open("wb") as file:
        summed_changes.fold(paths, [bases[0], bases[1], bases[1]], factors, encoding, file.write)
    total = read(tmp_path / "sum")["w"]
    # 1·(2, 0) + ¼·(8, 4) + ¼·(0, 2)
    assert total.tolist() == [4.0, 1.5]
    total.add_(newest["w"], alpha=3.0)
    new, _ = strategy.step("w", newest["w"], Sum(total, 3.0, 3), {})
    torch.testing.assert_close(new, newest["w"] + 0.5 / 3 * torch.tensor([4.0, 1.5]))


def test_changes_of_a_difference_codec_are_summed_as_they_are(tmp_path):
    base = write(tmp_path / "base", {"w": torch.tensor([100.0])})
    paths = [
        write(tmp_path / f"d{n}", {"w": torch.tensor([one]).half()})
        for n, one in ((0, 2.0), (1, 4.0))
    ]
    encoding = Encoding("delta-fp16", {"w": describe(torch.zeros(1))}, base)
    with (tmp_path / "sum").open("wb") as file:
        summed_changes.fold(paths, [base, base], [1.0, 0.5], encoding, file.write)
    assert read(tmp_path / "sum")["w"].tolist() == [4.0]


def changes(running, values):
    """Run rounds whose mean change is each value; returns the model after each."""
    return [running.run([{"w": running.model["w"] + one}] * 5)["w"].clone() for one in values]


CHANGES = [make(seed, (4,)) for seed in range(6)]


def optimised(optimiser_of, each=lambda optimiser, step: None):
    """What torch's optimiser makes of the same changes as gradients −Δ."""
    weight = torch.nn.Parameter(torch.zeros(4))
    optimiser = optimiser_of([weight])
    found = []
    for step, change in enumerate(CHANGES, start=1):
        weight.grad = -change
        each(optimiser, step)
        optimiser.step()
        found.append(weight.detach().clone())
    return found


def test_fedavgm_is_torchs_sgd_with_momentum(tmp_path):
    running = rounds(tmp_path, "fedavgm", {"w": torch.zeros(4)}, learning_rate=0.5, momentum=0.8)
    expected = optimised(lambda weights: torch.optim.SGD(weights, lr=0.5, momentum=0.8))
    torch.testing.assert_close(changes(running, CHANGES), expected)


def test_fedadagrad_is_torchs_adagrad(tmp_path):
    running = rounds(tmp_path, "fedadagrad", {"w": torch.zeros(4)}, learning_rate=0.5, tau=0.01)
    expected = optimised(
        lambda weights: torch.optim.Adagrad(
            weights, lr=0.5, eps=0.01, initial_accumulator_value=1e-4
        )
    )
    torch.testing.assert_close(changes(running, CHANGES), expected)


def test_fedadam_is_torchs_adam_without_bias_correction(tmp_path):
    beta1, beta2, tau, rate = 0.9, 0.99, 0.01, 0.5

    def uncorrected(optimiser, step):
        # torch divides by 1 − βᵗ; the paper does not, so rate and ε take it back.
        root = (1 - beta2**step) ** 0.5
        group = optimiser.param_groups[0]
        group["lr"], group["eps"] = rate * (1 - beta1**step) / root, tau / root
        weight = group["params"][0]
        if not optimiser.state[weight]:
            optimiser.state[weight] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros(4),
                "exp_avg_sq": torch.full((4,), tau * tau),
            }

    settings = {"learning_rate": rate, "beta1": beta1, "beta2": beta2, "tau": tau}
    running = rounds(tmp_path, "fedadam", {"w": torch.zeros(4)}, **settings)
    expected = optimised(
        lambda weights: torch.optim.Adam(weights, betas=(beta1, beta2)), uncorrected
    )
    torch.testing.assert_close(changes(running, CHANGES), expected)


def test_fedyogi_by_hand(tmp_path):
    settings = {"learning_rate": 0.5, "beta1": 0.5, "beta2": 0.75, "tau": 1.0}
    running = rounds(tmp_path, "fedyogi", {"w": torch.zeros(1)}, **settings)
    first, second = changes(running, [torch.tensor([2.0]), torch.tensor([1.0])])
    # v = 1 + ¼·4 = 2, m = 1; then v = 2 − ¼·1, m = 1.
    assert first.item() == pytest.approx(0.5 * 1 / (2**0.5 + 1))
    assert second.item() - first.item() == pytest.approx(0.5 * 1 / (1.75**0.5 + 1))


def test_the_median_of_an_even_number_is_between_the_middle_two(tmp_path):
    updates = [{"w": torch.tensor([one, -one])} for one in (1.0, 2.0, 4.0, 900.0)]
    new = rounds(tmp_path, "median", {"w": torch.zeros(2)}).run(updates)
    assert new["w"].tolist() == [3.0, -3.0]


def test_the_trimmed_mean_cuts_both_ends(tmp_path):
    updates = [{"w": torch.tensor([one])} for one in (-100.0, 1.0, 2.0, 6.0, 900.0)]
    new = rounds(tmp_path, "trimmed_mean", {"w": torch.zeros(1)}, share=0.2).run(updates)
    assert new["w"].tolist() == [3.0]
    all_of_them = rounds(tmp_path, "trimmed_mean", {"w": torch.zeros(1)}, share=0).run(updates)
    assert all_of_them["w"].item() == pytest.approx(161.8)


def test_krum_by_hand(tmp_path):
    # Scores with f = 1, n = 5 (two nearest): 0: 1+4, 1: 1+1, 2: 1+4, 10: 64+81, 4: 4+9.
    updates = [{"w": torch.tensor([one])} for one in (0.0, 1.0, 2.0, 10.0, 4.0)]
    krum = rounds(tmp_path, "krum", {"w": torch.zeros(1)}, attackers=1)
    assert krum.run(updates)["w"].tolist() == [1.0]
    multi = rounds(tmp_path, "multi_krum", {"w": torch.zeros(1)}, attackers=1, keep=3)
    assert multi.run(updates)["w"].tolist() == [1.0]
    default = rounds(tmp_path, "multi_krum", {"w": torch.zeros(1)}, attackers=1)
    assert default.run(updates)["w"].tolist() == [1.75]


def test_krum_judges_whole_updates_of_large_models_that_hardly_differ(tmp_path):
    base = {"w": torch.full((300, 700), 1000.0), "b": torch.zeros(3)}
    updates = [{"w": base["w"] + 0.001 * n, "b": base["b"]} for n in range(7)]
    updates[3]["b"] = torch.full((3,), 50.0)
    new = rounds(tmp_path, "krum", base, attackers=1).run(updates)
    assert torch.equal(new["b"], base["b"])
    assert 1000.0009 < new["w"][0, 0] < 1000.0055


@pytest.mark.parametrize("name", ["krum", "multi_krum"])
def test_krum_says_how_many_updates_it_needs(name, tmp_path):
    running = rounds(tmp_path, name, {"w": make(0)}, attackers=2)
    with pytest.raises(strategies.StrategyError, match=r"5 updates; against 2 attackers.* needs 7"):
        running.run(cohort(5))


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize(
    "attack",
    [
        lambda honest: honest * -20,
        lambda honest: honest + 1e30,
        lambda honest: torch.full_like(honest, 3e38),
        lambda honest: torch.zeros_like(honest) - 5,
    ],
    ids=["sign", "shift", "overflow", "constant"],
)
def test_attackers_do_not_move_a_robust_strategy(name, attack, tmp_path):
    config = {"attackers": 2} if "krum" in name else {}
    if name == "trimmed_mean":
        config = {"share": 0.25}
    aim = make(0)
    honest = [{"w": aim + 0.1 * make(seed)} for seed in range(1, 8)]
    # Two agree with each other and come first and last.
    bad = {"w": attack(aim)}
    new = rounds(tmp_path, name, {"w": torch.zeros(3, 4)}, **config).run([bad, *honest, bad])
    assert (new["w"] - aim).abs().max() < 0.5


@pytest.mark.parametrize("name", ROBUST)
def test_a_robust_strategy_does_not_believe_weights(name, tmp_path):
    updates = cohort(5)
    loud = rounds(tmp_path, name, {"w": make(0)}).run(updates, [1, 1e9, 1, 1, 1])
    even = rounds(tmp_path, name, {"w": make(0)}).run(updates)
    assert torch.equal(loud["w"], even["w"])
