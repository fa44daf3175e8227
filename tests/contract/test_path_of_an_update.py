"""From the job file over real local training and the codec to the next version."""

from __future__ import annotations

import numpy as np
import pytest

from aggregation import strategies, sums
from aggregation.decoding import Encoding
from propius import arrays, codec, spec, tensors
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.trainer import LocalWork
from propius.program import container
from propius.training.pool import TrainerPool
from tests.unit.sdk.agent.scripted import assignment
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters

ROUNDS = 4
PAIRS = [("fednova", "delta-int8"), ("fedprox", "topk10"), ("fedadam", "bf16")]


@pytest.fixture
async def pool():
    async with TrainerPool(1, memory_mb=700) as made:
        yield made


def job(strategy, chosen):
    return spec.normalised(
        spec.parse(
            {
                "schema": 1,
                "name": "linear",
                "workload": {
                    "kind": "program", "program": "a" * 64, "dataset": "d",
                    "train": {"learning_rate": 0.05, "epochs": 2, "batch_size": 2},
                },
                "parameters": "a" * 64,
                "rounds": {"count": ROUNDS, "demand": 5},
                "strategy": {"name": strategy},
                "codec": chosen,
            }
        )
    )  # fmt: skip


@pytest.mark.parametrize(("strategy", "chosen"), PAIRS)
async def test_training_through_a_codec_and_a_strategy_lowers_the_loss(
    tmp_path, pool, strategy, chosen
):
    plain = job(strategy, chosen)
    settings = dict(plain["strategy"])
    built = strategies.build(settings.pop("name"), settings)
    (tmp_path / "program").write_bytes(container.dump(linear()))
    data = {f"{k}_{s}": v for s in ("train", "val") for k, v in linear_data().items()}
    np.savez(tmp_path / "data.npz", **data)
    base, state, losses = tmp_path / "base", None, []
    arrays.save_file(linear_parameters(), base)
    rules = linear().rules()
    for turn in range(ROUNDS):
        work = LocalWork(
            assignment=assignment(workload=plain["workload"], codec=chosen, kind="train"),
            parameters=base,
            program=tmp_path / "program",
            dataset=tmp_path / "data.npz",
            handler=None,
            output=tmp_path / f"update-{turn}",
            memory=tmp_path / "memory",
            remembered=tmp_path / f"remembered-{turn}",
        )
        done = await PoolTrainer(pool).run(work, timeout_s=60, progress=lambda part: None)
        losses.append(done.metrics["loss"])
        assert done.metrics["local_steps"] == 2
        if codec.get(chosen).remembers:
            (tmp_path / f"remembered-{turn}").rename(tmp_path / "memory")
        base, state = step(tmp_path, built, rules, base, state, work.output, chosen)
    assert losses[-1] < 0.9 * losses[0]


def step(folder, strategy, rules, base, state, update, chosen):
    header = tensors.read_header(base)
    mean = {name: info for name, info in header.items() if rules[name] == "mean"}
    weight = strategy.fold_weight(2.0, 2.0)
    with (folder / "sum").open("wb") as file:
        sums.fold([update], [weight], Encoding(chosen, mean, base), file.write)
    new, after = folder / "new", folder / "after"
    with new.open("wb") as file, after.open("wb") as kept:
        sums.close(
            base=base, partials=[folder / "sum"], merged=sums.Merged(weight, 1, 2.0, 2.0),
            rules=rules, strategy=strategy, state=state, write=file.write, write_state=kept.write,
        )  # fmt: skip
    return new.rename(folder / "base"), after.rename(folder / "state") if strategy.keeps else None
