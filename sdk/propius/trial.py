"""A job on this machine alone: the devices' own trainer, and the strategy's step in numpy.

``propius try`` runs it, so that a job is known to learn before it is submitted. What needs the
platform is refused in words: see :data:`STRATEGIES`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from propius import arrays, codec, wire
from propius.agent import updates
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.trainer import LocalOutcome, LocalWork
from propius.arrays import Array
from propius.training.pool import TrainerPool

STRATEGIES = ("fedavg", "fedprox", "fednova")
"""Those that ``propius try`` steps; the others need what the platform keeps between rounds."""


class TrialError(ValueError):
    """A job or data that cannot be tried here; the text says what can."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round gave: means over the devices, and over the validation data after it."""

    number: int
    devices: int
    metrics: dict[str, float]
    validation: dict[str, float]


@dataclass(frozen=True, slots=True)
class Files:
    """What a job names by digest, and the function of a handler."""

    parameters: Path
    program: Path | None
    train: str | None = None
    evaluate: str | None = None


def check(job: Mapping[str, Any]) -> None:
    """Raise TrialError for a normalised job that only the platform can run."""
    name = job["strategy"]["name"]
    if name not in STRATEGIES:
        raise TrialError(f"strategy {name!r} cannot be tried; allowed: {', '.join(STRATEGIES)}")
    if job["workload"]["kind"] == "query":
        raise TrialError("a query cannot be tried; workloads of kind program and handler can")
    for part in ("privacy", "frozen"):
        if job.get(part):
            raise TrialError(f"{part} cannot be tried: leave it out for a trial")


def deal(labels: Array, devices: int, how: str, *, seed: int = 0) -> list[Array]:
    """Deal examples out to devices.

    Parameters
    ----------
    labels
        Class of each example.
    devices
        How many hands.
    how
        ``iid``, or ``dirichlet:α``: each class by shares drawn from Dirichlet(α), as in Hsu et al.
        (arXiv 1909.06335); the smaller α, the less alike are the devices.
    seed
        Of the draw.

    Returns
    -------
    list of arrays
        The indices of each hand, at least 2; together all, each once.

    Raises
    ------
    TrialError
        For another ``how``, or too few examples.

    Examples
    --------
    >>> hands = deal(np.array([0, 1] * 20), 4, "dirichlet:0.5")
    >>> sorted(np.concatenate(hands).tolist()) == list(range(40))
    True
    """
    rng = np.random.default_rng(seed)
    if len(labels) < 2 * devices:
        raise TrialError(f"{len(labels)} examples do not give {devices} devices 2 each")
    if how == "iid":
        return [np.sort(hand) for hand in np.array_split(rng.permutation(len(labels)), devices)]
    found = re.fullmatch(r"dirichlet:(\d+(?:\.\d+)?)", how)
    if found is None or float(found[1]) == 0:
        raise TrialError(f"split {how!r} is not known; allowed: iid, dirichlet:0.5 (above 0)")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise TrialError(f"split {how} needs whole-number labels, one an example; use iid")
    hands: list[list[int]] = [[] for _ in range(devices)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(devices, float(found[1])))
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for hand, part in zip(hands, np.split(members, cuts), strict=True):
            hand.extend(part.tolist())
    for hand in hands:
        while len(hand) < 2:
            hand.append(max(hands, key=len).pop())
    return [np.array(sorted(hand)) for hand in hands]


def write_data(path: Path, into: Path, devices: int, how: str, *, seed: int) -> list[Path]:
    """Write each device's data set; every one has the whole validation split."""
    with np.load(path, allow_pickle=False) as file:
        whole = {name: file[name] for name in file.files}
    train = {name: one for name, one in whole.items() if name.endswith("_train")}
    made = []
    for number, hand in enumerate(deal(whole["y_train"], devices, how, seed=seed)):
        made.append(into / f"device-{number}.npz")
        np.savez(made[-1], **{**whole, **{name: one[hand] for name, one in train.items()}})
    return made


def fold(
    strategy: str,
    before: Mapping[str, Array],
    sent: Sequence[tuple[Mapping[str, Array], float, float]],
) -> dict[str, Array]:
    """Return the next version of the averaged tensors.

    Parameters
    ----------
    strategy
        One of :data:`STRATEGIES`.
    before
        The averaged tensors of the version before.
    sent
        For each device its tensors, examples and local steps.

    References
    ----------
    McMahan et al., arXiv 1602.05629, algorithm 1; Wang et al., arXiv 2007.07481, equation 6.
    """
    total = sum(examples for _, examples, _ in sent)
    mean_steps = sum(examples * steps for _, examples, steps in sent) / total
    after = {}
    for name, base in before.items():
        change = np.zeros(base.shape)
        for tensors, examples, steps in sent:
            # FedNova: each device's change per step, times the mean number of steps.
            factor = mean_steps / steps if strategy == "fednova" else 1.0
            change += examples / total * factor * (tensors[name].astype(np.float64) - base)
        after[name] = (base + change).astype(base.dtype)
    return after


async def run(
    job: dict[str, Any], files: Files, data: Sequence[Path], folder: Path, pool: TrainerPool
) -> AsyncIterator[Round]:
    """Run a normalised job's rounds; the newest parameters are in ``folder/model.safetensors``.

    Of the devices, those that the job holds out do not train.

    Raises
    ------
    TrialError
        The job needs the platform.
    TrainingError
        A device's work failed.
    """
    check(job)
    trainer, model = PoolTrainer(pool), folder / "model.safetensors"
    model.write_bytes(files.parameters.read_bytes())
    chance = np.random.default_rng(job["seed"])
    timeout_s = 2 * job["rounds"]["deadline_s"]
    training = len(data) - round(len(data) * (job["evaluation"].get("fraction") or 0))
    demand = min(job["rounds"]["demand"], training)
    for number in range(1, job["rounds"]["count"] + 1):
        reports = []
        for device in sorted(chance.choice(training, demand, replace=False).tolist()):
            work = _work(job, files, data[device], folder, number, device, "train")
            done = await trainer.run(work, timeout_s=timeout_s, progress=_ignore)
            if work.remembered is not None and work.remembered.exists():
                work.remembered.replace(folder / f"memory-{device}")
            reports.append((_sent(job, work), done))
        _step(job["strategy"]["name"], model, reports)
        validation: dict[str, float] = {}
        if files.program is not None or files.evaluate is not None:
            work = _work(job, files, data[0], folder, number, 0, "evaluate")
            validation = (await trainer.run(work, timeout_s=timeout_s, progress=_ignore)).metrics
        yield Round(number, demand, _means([done for _, done in reports]), validation)


def _work(
    job: dict[str, Any], files: Files, data: Path, folder: Path, number: int, device: int, kind: Any
) -> LocalWork:
    parameters = wire.Blob(digest=job["parameters"], size_bytes=files.parameters.stat().st_size)
    seed = hashlib.sha256(f"{job['seed']}:{number}:{device}".encode()).digest()
    assignment = wire.Assignment(
        id=f"{number}-{device}", job="trial", job_name=job["name"], tenant="trial",
        round=f"{number}", number=number, attempt=1, kind=kind, workload=job["workload"],
        constraints={}, parameters=parameters, program=None, codec=job["codec"],
        max_update_bytes=job["max_update_bytes"] or parameters.size_bytes + (1 << 20),
        seed=int.from_bytes(seed[:8]) >> 1, start_s=10.0, lease_s=30.0,
        deadline_s=job["rounds"]["deadline_s"], ticket="",
    )  # fmt: skip
    return LocalWork(
        assignment=assignment,
        parameters=folder / "model.safetensors",
        program=files.program,
        dataset=data,
        handler=files.train if kind == "train" else files.evaluate,
        output=folder / "update",
        memory=folder / f"memory-{device}",
        remembered=folder / "remembered",
    )


def _sent(job: dict[str, Any], work: LocalWork) -> dict[str, Array]:
    """The update as the platform would read it: through the codec, differences added up."""
    model, chosen = arrays.load(work.parameters), codec.get(job["codec"])
    floats = {name: one.dtype.kind == "f" for name, one in model.items()}
    averaged = {name: model[name] for name in updates.travelling(work, floats)}
    back = codec.decode(
        arrays.load(work.output), codec=chosen.name, expected=arrays.describe(averaged)
    )
    return {name: one + averaged[name] if chosen.difference else one for name, one in back.items()}


def _step(
    strategy: str, model: Path, reports: Sequence[tuple[dict[str, Array], LocalOutcome]]
) -> None:
    before = arrays.load(model)
    sent = [
        (tensors, done.weight, max(1.0, done.metrics.get("local_steps", 1.0)))
        for tensors, done in reports
    ]
    after = fold(strategy, {name: before[name] for name in sent[0][0]}, sent)
    arrays.save_file({**before, **after}, model)


def _means(done: Sequence[LocalOutcome]) -> dict[str, float]:
    total = sum(one.weight for one in done)
    names = set.intersection(*(set(one.metrics) for one in done))
    return {
        name: sum(one.weight * one.metrics[name] for one in done) / total for name in sorted(names)
    }


def _ignore(part: float) -> None:
    """Nobody watches."""
