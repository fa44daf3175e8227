"""A small LoRA on a frozen base: the base travels once to each device, and never back."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, load_file, save
from torch import nn

from propius.program import export
from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform

DEVICES, ROUNDS, WIDTH, RANK = 5, 2, 512, 2


class Adapted(nn.Module):
    """A linear layer whose base stays as it is; only the two thin matrices beside it learn."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inward = nn.Linear(1, WIDTH).requires_grad_(requires_grad=False)
        self.base = nn.Linear(WIDTH, WIDTH).requires_grad_(requires_grad=False)
        self.down = nn.Linear(WIDTH, RANK, bias=False)
        self.up = nn.Linear(RANK, 2, bias=False)
        self.outward = nn.Linear(WIDTH, 2).requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.inward(x))
        return self.outward(torch.relu(self.base(hidden))) + self.up(self.down(hidden))


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(
        platform, tmp_path_factory.mktemp("lora"), slug="lora", count=DEVICES, programs=True
    )
    try:
        yield fleet.start()
    finally:
        fleet.stop()


def bytes_moved(platform: RunningPlatform, direction: str) -> float:
    with urllib.request.urlopen(f"{platform.gateway_http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    name = f'propius_gateway_bytes_total{{direction="{direction}"}}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_frozen_base_travels_once_and_never_back(platform, fleet: Fleet, tmp_path: Path) -> None:
    module = Adapted()
    batch = torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)
    made = export(module, nn.functional.cross_entropy, batch)
    whole = load(made.parameters)
    trained = {name for name, one in module.named_parameters() if one.requires_grad}
    base = save({name: one for name, one in whole.items() if name not in trained})
    adapter = save({name: one for name, one in whole.items() if name in trained})
    client = fleet.client
    spec = {
        "workload": {
            "kind": "program", "program": client.upload_program(made.program)["digest"],
            "dataset": "numbers", "train": {"learning_rate": 0.01, "batch_size": 2},
        },
        "parameters": client.upload_parameters(adapter),
        "frozen": client.upload_parameters(base),
    }  # fmt: skip
    down, up = (bytes_moved(platform, one) for one in ("down", "up"))
    job = fleet.submit(rounds=ROUNDS, demand=DEVICES, **spec)
    ended = client.wait(job, timeout_s=120, every_s=0.4)
    assert ended["outcome"] == "completed", ended
    down, up = bytes_moved(platform, "down") - down, bytes_moved(platform, "up") - up
    each_round = DEVICES * len(adapter)
    program = DEVICES * len(made.program)
    # Once to each device, not once to each device and round; what else came is small.
    assert DEVICES * len(base) <= down <= DEVICES * len(base) + 2 * ROUNDS * each_round + program
    assert 0 < up <= ROUNDS * DEVICES * (len(adapter) + 1024)
    assert len(base) > 50 * len(adapter)

    after = load_file(client.download(job, ROUNDS, tmp_path / "adapter.safetensors"))
    assert set(after) == trained
    assert any(not np.array_equal(after[name], whole[name]) for name in trained)
    combined = load(base) | after
    module.load_state_dict({name: torch.from_numpy(one) for name, one in combined.items()})
