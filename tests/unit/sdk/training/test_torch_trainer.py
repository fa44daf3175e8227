import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from propius import arrays, tensors
from propius.program import container
from propius.program.exporter import export
from propius.program.interpreter import CompiledProgram
from propius.training import batches, optimizers
from propius.training.config import TrainConfig
from propius.training.torch_trainer import TrainingDiverged, evaluate, train
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters

ONE_STEP = TrainConfig(learning_rate=0.1, local_steps=1, batch_size=2)


@pytest.fixture(scope="module")
def compiled() -> CompiledProgram:
    torch.set_num_threads(1)
    return CompiledProgram(linear())


def _changed(config: TrainConfig, **changes: float) -> TrainConfig:
    return TrainConfig(**{f: getattr(config, f) for f in config.__struct_fields__} | changes)


def test_one_step_of_sgd_by_hand(compiled: CompiledProgram) -> None:
    # ŷ = 0, so ∂loss/∂w = mean 2(ŷ−y)x = (2·−1·[1,0] + 2·−2·[0,2]) / 2 = [−1, −4], ∂loss/∂b = −3.
    start = linear_parameters()
    result = train(compiled, start, linear_data(), ONE_STEP, seed=0)
    np.testing.assert_allclose(result.parameters["weight"], [[0.1, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(result.parameters["bias"], [0.3], rtol=1e-6)
    assert (result.examples, result.steps, result.metrics) == (2, 1, {"loss": 2.5})
    assert not start["weight"].any()


def test_a_frozen_tensor_is_not_trained_and_does_not_come_back(compiled: CompiledProgram) -> None:
    start = linear_parameters()
    result = train(compiled, start, linear_data(), ONE_STEP, seed=0, frozen={"weight"})
    # As above for the bias alone; the other one counts in the loss only.
    assert set(result.parameters) == {"bias"}
    np.testing.assert_allclose(result.parameters["bias"], [0.3], rtol=1e-6)


def test_the_correction_is_added_to_each_gradient_by_hand(compiled: CompiledProgram) -> None:
    # As in one step of SGD by hand: the gradients are [−1, −4] and −3, and c − cᵢ shifts them.
    shift = {"weight": np.array([[3.0, -1.0]], np.float32)}
    result = train(compiled, linear_parameters(), linear_data(), ONE_STEP, seed=0, correction=shift)
    np.testing.assert_allclose(result.parameters["weight"], [[-0.2, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(result.parameters["bias"], [0.3], rtol=1e-6)
    assert result.walked == pytest.approx(0.1)


def test_how_far_training_walked_follows_the_schedule(compiled: CompiledProgram) -> None:
    config = TrainConfig(learning_rate=0.1, local_steps=4, batch_size=2, schedule="linear")
    result = train(compiled, linear_parameters(), linear_data(), config, seed=0)
    assert result.walked == pytest.approx(0.1 + 0.075 + 0.05 + 0.025)


def test_clipping_by_hand(compiled: CompiledProgram) -> None:
    config = _changed(ONE_STEP, clip_norm=1.0)
    weight = train(compiled, linear_parameters(), linear_data(), config, 0).parameters["weight"]
    np.testing.assert_allclose(weight, np.array([[0.1, 0.4]]) / math.sqrt(26), rtol=1e-5)


def test_the_first_step_of_adam_by_hand(compiled: CompiledProgram) -> None:
    # m̂/√v̂ is the gradient's sign, so every weight moves by the learning rate.
    config = _changed(ONE_STEP, optimizer="adam")
    weight = train(compiled, linear_parameters(), linear_data(), config, 0).parameters["weight"]
    np.testing.assert_allclose(weight[0, 1], 0.1, rtol=1e-5)


def test_the_proximal_term_pulls_back_by_hand(compiled: CompiledProgram) -> None:
    # The first step is at w₀, where the term is 0; the second one subtracts η·μ·(w₁ − w₀).
    plain = _changed(ONE_STEP, local_steps=2)
    near = _changed(plain, proximal_mu=0.5)
    results = [
        train(compiled, linear_parameters(), linear_data(), c, 0).parameters["bias"][0]
        for c in (plain, near)
    ]
    assert results[0] - results[1] == pytest.approx(0.1 * 0.5 * 0.3, rel=1e-4)


@pytest.mark.parametrize(
    ("config", "eager"),
    [
        (
            TrainConfig(learning_rate=0.05, momentum=0.9, weight_decay=0.01, epochs=4),
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
        ),
        (
            TrainConfig(optimizer="adam", learning_rate=0.05, weight_decay=0.01, epochs=4),
            lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.01),
        ),
    ],
)
def test_training_matches_eager_torch(config: TrainConfig, eager: object) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2),
                           nn.Linear(8, 3))  # fmt: skip
    x, y = torch.randn(60, 6), torch.randint(0, 3, (60,))
    made = export(module, nn.functional.cross_entropy, (x[:4], y[:4]))
    program = CompiledProgram(container.load(made.program))
    data = {"x": x.numpy(), "y": y.numpy()}
    result = train(program, arrays.load(made.parameters), data, config, seed=5)

    optimizer = eager(module.parameters())
    torch.manual_seed(5)
    for chosen in batches.shuffled(60, config, np.random.default_rng(5)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[chosen]), y[chosen]).backward()
        optimizer.step()
    for name, value in module.state_dict().items():
        np.testing.assert_allclose(result.parameters[name], value.numpy(), rtol=1e-4, atol=1e-6)
    before = evaluate(program, arrays.load(made.parameters), data).metrics
    after = evaluate(program, result.parameters, data).metrics
    assert after["loss"] < before["loss"]
    predictions = copy.deepcopy(module).eval()(x)
    assert after["accuracy"] == pytest.approx((predictions.argmax(1) == y).float().mean().item())


def test_the_same_seed_gives_the_same_bits(compiled: CompiledProgram) -> None:
    rng = np.random.default_rng(0)
    data = {
        "x": rng.standard_normal((33, 2)).astype(np.float32),
        "y": rng.standard_normal((33, 1)).astype(np.float32),
    }
    config = TrainConfig(batch_size=8, epochs=2)
    first, again, other = (
        train(compiled, linear_parameters(), data, config, seed).parameters["weight"].tobytes()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_model_that_does_not_fit_is_named(compiled: CompiledProgram) -> None:
    wrong = {**linear_parameters(), "weight": np.zeros((2, 2), np.float32)}
    with pytest.raises(tensors.TensorError, match=r"'weight' is F32 \[2, 2\]; F32 \[1, 2\]"):
        train(compiled, wrong, linear_data(), ONE_STEP, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((2, 3), np.float32)}, r"data\.x: its shape is \[2, 3\]"),
        ({"x": np.zeros((2, 2))}, r"data\.x: its dtype is F64, expected F32"),
        ({"y": np.zeros((3, 1), np.float32)}, r"data\.y: it has 3 examples, others have 2"),
        ({"x": np.zeros((0, 2), np.float32), "y": np.zeros((0, 1), np.float32)}, "no examples"),
    ],
)
def test_data_that_does_not_fit_is_named(
    compiled: CompiledProgram, change: dict[str, arrays.Array], words: str
) -> None:
    with pytest.raises(batches.DataError, match=words):
        train(compiled, linear_parameters(), linear_data() | change, ONE_STEP, 0)


def test_missing_data_is_named(compiled: CompiledProgram) -> None:
    with pytest.raises(batches.DataError, match=r"data\.y: the data set has no such array"):
        evaluate(compiled, linear_parameters(), {"x": linear_data()["x"]})


def test_a_result_that_is_not_finite_is_refused(compiled: CompiledProgram) -> None:
    config = _changed(ONE_STEP, learning_rate=100.0, local_steps=60)
    with pytest.raises(TrainingDiverged, match="smaller learning rate"):
        train(compiled, linear_parameters(), linear_data(), config, 0)


@pytest.mark.parametrize(
    ("examples", "size", "expected"),
    [(5, 2, [2, 3]), (4, 2, [2, 2]), (1, 2, [1]), (7, 3, [3, 4]), (2, 1, [2]), (3, 8, [3])],
)
def test_no_batch_of_one_is_left_over(examples: int, size: int, expected: list[int]) -> None:
    assert [end - begin for begin, end in batches.spans(examples, size)] == expected


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, 0.854, 0.5, 0.146]),
    ],
)
def test_a_schedule_by_hand(schedule: str, rates: list[float]) -> None:
    config = TrainConfig(learning_rate=1.0, schedule=schedule)  # type: ignore[arg-type]
    found = [optimizers.scheduled(config, step, 4) for step in range(4)]
    assert found == pytest.approx(rates, abs=1e-3)


def test_a_schedule_lowers_what_the_later_steps_do(compiled: CompiledProgram) -> None:
    plain, lowered = (
        train(
            compiled,
            linear_parameters(),
            linear_data(),
            TrainConfig(learning_rate=0.1, epochs=2, batch_size=2, schedule=schedule),
            seed=0,
        ).parameters["weight"]
        for schedule in ("constant", "linear")
    )
    start = linear_parameters()["weight"]
    assert 0 < np.abs(lowered - start).sum() < np.abs(plain - start).sum()


def test_local_steps_go_around_the_data() -> None:
    config = TrainConfig(batch_size=2, local_steps=5)
    chosen = list(batches.shuffled(4, config, np.random.default_rng(0)))
    assert [len(batch) for batch in chosen] == [2] * 5
    assert sorted(np.concatenate(chosen[:2])) == [0, 1, 2, 3]
