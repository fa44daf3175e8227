"""The demo's devices, as their own files describe them."""

from pathlib import Path

import numpy as np
import pytest

from demo import fleet, jobs
from propius import constraints
from propius.agent import consent, datasets, workloads

TENANTS = [jobs.ACME, jobs.GLOBEX]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    fleet.lay_out(folder)
    return folder


def _eligible(root: Path, job: jobs.DemoJob) -> list[fleet.Device]:
    """Devices that may, can and want to take the job: public, private, workload and consent."""
    asked = job.spec.get("constraints", {})
    found = []
    for device in fleet.devices():
        folder = device.folder(root)
        kind, dataset = job.spec["workload"]["kind"], job.spec["workload"]["dataset"]
        held = datasets.load(folder / "datasets.toml")
        granted = consent.load(folder / "consent.toml", pool_tenants=TENANTS)
        offered = workloads.load(folder / "handlers.toml", programs=device.model.programs)
        if (
            dataset in held
            and kind in offered.offered()
            and granted.check(tenant=job.tenant, kind=kind, dataset=dataset) is None
            and constraints.matches(constraints.parse(asked.get("public", {})), device.attributes)
            and constraints.matches(
                constraints.parse(asked.get("private", {})), held.private_attributes(dataset)
            )
        ):
            found.append(device)
    return found


def test_there_are_40_unlike_devices_and_each_is_in_one_process() -> None:
    devices = fleet.devices()
    assert len(devices) == 40
    assert sum(not device.model.programs for device in devices) == 8
    assert len({device.model.slowdown for device in devices}) >= 5
    hosted = [device for group in fleet.groups() for device in group.devices]
    assert sorted(device.number for device in hosted) == list(range(40))


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("tumours-logistic", 40, 40), ("digits-mlp", 32, 32), ("digits-cnn", 25, 31)],
)
def test_enough_devices_are_eligible(root: Path, name: str, least: int, most: int) -> None:
    job = next(job for job in jobs.JOBS if job.name == name)
    assert least <= len(_eligible(root, job)) <= most


def test_a_private_constraint_excludes_devices_that_the_public_ones_admit(root: Path) -> None:
    job = next(job for job in jobs.JOBS if job.name == "digits-cnn")
    public = constraints.parse(job.spec["constraints"]["public"])
    admitted = [d for d in fleet.devices() if constraints.matches(public, d.attributes)]
    assert len(_eligible(root, job)) < len([d for d in admitted if d.model.programs])


def test_each_device_has_a_shard_and_a_validation_split_of_its_own(root: Path) -> None:
    seen: set[bytes] = set()
    for device in fleet.devices():
        with np.load(device.folder(root) / f"{fleet.TUMOURS}.npz") as arrays:
            rows = {row.tobytes() for name in ("x_train", "x_val") for row in arrays[name]}
            assert len(arrays["y_train"]) >= 1
            assert len(arrays["y_val"]) >= 1
        assert not rows & seen
        seen |= rows


def test_laying_out_again_keeps_the_key_and_clears_what_an_earlier_run_left(root: Path) -> None:
    folder = fleet.devices()[0].folder(root)
    (folder / "device.key").write_text("kept")
    (folder / "spool").mkdir()
    (folder / "spool" / "old").write_text("left")
    fleet.lay_out(root)
    assert (folder / "device.key").read_text() == "kept"
    assert not (folder / "spool").exists()
