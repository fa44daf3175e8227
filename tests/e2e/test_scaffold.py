"""SCAFFOLD end to end: control variates go down and up, and every number is the paper's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from propius.program import export
from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform

DEVICES, ROUNDS, STEPS, RATE, SERVER_RATE = 5, 3, 2, 0.01, 0.5
POPULATION = 8
"""More than there are, so that c is not just the mean of the devices' own."""


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(
        platform, tmp_path_factory.mktemp("scaffold"), slug="scaffold", count=DEVICES,
        programs=True,
    )  # fmt: skip
    try:
        yield fleet.start()
    finally:
        fleet.stop()


def by_hand() -> list[float]:
    """Algorithm 1 with option II on the loss (w·i)²: device i's gradient is 2·w·i²."""
    x, c, own = 1.0, 0.0, [0.0] * DEVICES
    versions = []
    for _ in range(ROUNDS):
        moved, changed = [], []
        for i in range(DEVICES):
            y = x
            for _ in range(STEPS):
                y -= RATE * (2 * y * i * i - own[i] + c)
            after = own[i] - c + (x - y) / (STEPS * RATE)
            moved.append(y - x)
            changed.append(after - own[i])
            own[i] = after
        x += SERVER_RATE * sum(moved) / DEVICES
        c += DEVICES / POPULATION * sum(changed) / DEVICES
        versions.append(x)
    return versions


def test_three_rounds_are_those_of_the_paper(platform, fleet: Fleet, tmp_path: Path) -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)

    def loss(found: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return found.square().mean()

    batch = torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)
    made = export(module, loss, batch)
    client = fleet.client
    spec = {
        "workload": {
            "kind": "program", "program": client.upload_program(made.program)["digest"],
            "dataset": "numbers",
            "train": {"learning_rate": RATE, "local_steps": STEPS, "batch_size": 2},
        },
        "parameters": client.upload_parameters(made.parameters),
        "strategy": {
            "name": "scaffold", "population": POPULATION, "learning_rate": SERVER_RATE,
        },
    }  # fmt: skip
    job = fleet.submit(rounds=ROUNDS, demand=DEVICES, **spec)
    ended = client.wait(job, timeout_s=120, every_s=0.4)
    assert ended["outcome"] == "completed", fleet.log()

    found = [
        load_file(client.download(job, n, tmp_path / f"{n}.safetensors"))
        for n in range(1, ROUNDS + 1)
    ]
    assert all(set(one) == {"weight"} for one in found)
    assert [one["weight"].item() for one in found] == pytest.approx(by_hand(), rel=1e-5)
