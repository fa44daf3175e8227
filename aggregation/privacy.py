"""Central differential privacy of a job's model, per device.

Each update's change is clipped to L2 norm C, all weigh the same, and Gaussian noise of standard
deviation z·C is added once to their sum. What the adversary sees is every model version and how
many devices reported; a *neighbour* is the same run in which all changes of one device are zero.
The noise comes from the system's entropy, never from the job's seed, which its tenant knows.

References
----------
McMahan et al., *Learning Differentially Private Recurrent Language Models*, ICLR 2018, algorithm 1
(arXiv 1710.06963); Andrew et al., *Differentially Private Learning with Adaptive Clipping*,
NeurIPS 2021, algorithm 1 and theorem 1 (arXiv 1905.03871).
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from aggregation.decoding import CHUNK_ITEMS, Encoding, opened, rows, slices, wide
from aggregation.sums import Write
from aggregation.tensor_files import (
    DTYPES,
    MappedTensors,
    header_bytes,
    in_chunks,
    tensor_bytes,
)
from propius.privacy import AdaptiveClip, Privacy

CLIP = "/clip"
"""The adaptive norm's key in the state: no tensor's state begins with a slash."""
UNCLIPPED = "unclipped"
# Float32 rounds a scaled change by less than this, so its norm stays below C.
_SLACK = 1 + 1e-6


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Clipping and noise of one round.

    Parameters
    ----------
    settings
        The job's.
    norm
        C, of this round.
    demand
        The job's, from which the count's noise is taken if the settings do not say it.
    """

    settings: Privacy
    norm: float
    demand: int

    @property
    def count_noise(self) -> float:
        """σ_b, the noise on the number of unclipped updates; 0 if the norm is fixed."""
        clip = self.settings.clip
        if not isinstance(clip, AdaptiveClip):
            return 0.0
        return clip.count_noise or max(self.demand / 20, self.settings.noise_multiplier)

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise on each element of the sum.

        Of theorem 1: with the count's noise, z_Δ = (z⁻² − (2·σ_b)⁻²)^(−½) costs as z alone does.
        """
        z = self.settings.noise_multiplier
        if self.count_noise:
            z = (z**-2 - (2 * self.count_noise) ** -2) ** -0.5
        return z * self.norm

    def noise(self, total: torch.Tensor, rng: np.random.Generator) -> None:
        """Add the noise to one tensor of the sum, in place."""
        flat = total.view(-1)
        for part in in_chunks(flat.numel(), CHUNK_ITEMS):
            drawn = torch.from_numpy(rng.standard_normal(part.stop - part.start))
            flat[part].add_(drawn.to(flat.dtype), alpha=self.deviation)

    def next_norm(self, unclipped: float, count: int, rng: np.random.Generator) -> float:
        """Return C of the next round, from how many of ``count`` updates were below this one's."""
        clip = self.settings.clip
        if not isinstance(clip, AdaptiveClip):
            return self.norm
        share = (unclipped + rng.normal(0.0, self.count_noise)) / count
        share = min(1.0, max(0.0, share))
        return self.norm * math.exp(-clip.rate * (share - clip.quantile))


def entropy() -> np.random.Generator:
    """Return a generator that nobody can foresee."""
    return np.random.Generator(np.random.Philox(key=secrets.randbits(128)))


def mechanism(settings: Privacy, state: Path | None, demand: int) -> Mechanism:
    """Return a round's mechanism; an adaptive norm goes on from the state of the version before."""
    norm = settings.clip.norm
    if state is not None:
        with MappedTensors(state) as kept:
            if CLIP in kept.header:
                norm = float(kept.tensor(CLIP))
                kept.check(CLIP)
    return Mechanism(settings, norm, demand)


def fold(paths: Sequence[Path], norm: float, encoding: Encoding, write: Write) -> int:
    """Write Σ clipped (update − base); returns how many were not clipped.

    Reads each update twice: its norm is of all its tensors together.
    """
    write(memoryview(header_bytes({name: wide(one) for name, one in encoding.tensors.items()})))
    with opened(paths, encoding) as files, MappedTensors(encoding.base) as base:
        squares = [0.0] * len(files)
        for name in encoding.tensors:
            for changes in _changes(files, base, name, encoding):
                for index, change in enumerate(changes):
                    squares[index] += float(change.double().square_().sum())
        norms = [math.sqrt(one) for one in squares]
        factors = [min(1.0, norm / (one * _SLACK)) if one else 1.0 for one in norms]
        for name in encoding.tensors:
            for changes in _changes(files, base, name, encoding):
                total = torch.zeros_like(changes[0])
                for change, factor in zip(changes, factors, strict=True):
                    total.add_(change, alpha=factor)
                write(tensor_bytes(total))
            base.release(name)
        base.check_rest()
    return sum(one <= norm for one in norms)


@functools.lru_cache(maxsize=1024)
def epsilon(noise_multiplier: float, releases: int, delta: float) -> float:
    """Return ε after so many model versions, by Rényi accounting (dp-accounting).

    No amplification by sampling is claimed: devices come when they can, so ε is that of a device
    that took part in every round.
    """
    # Here, not above: it takes a second.
    from dp_accounting import dp_event, rdp

    accountant = rdp.RdpAccountant()
    accountant.compose(dp_event.GaussianDpEvent(noise_multiplier), releases)
    return float(accountant.get_epsilon(delta))


def metrics(settings: Privacy, *, releases: int, norm: float) -> Mapping[str, float]:
    """Return what a model version tells of its privacy."""
    spent = epsilon(settings.noise_multiplier, releases, settings.delta)
    return {"epsilon": spent, "delta": settings.delta, "clip_norm": norm}


def _changes(
    files: Sequence[MappedTensors], base: MappedTensors, name: str, encoding: Encoding
) -> Iterator[list[torch.Tensor]]:
    """Give, slice by slice, the change that each update makes to a tensor."""
    info = wide(encoding.tensors[name])
    updates = rows(files, name, encoding)
    start = base.tensor(name).reshape(-1)
    limit = max(1024, 8 * CHUNK_ITEMS // max(1, len(files)))
    for part in slices(info, min(limit, CHUNK_ITEMS)):
        stack = torch.zeros(len(updates), part.stop - part.start, dtype=DTYPES[info.dtype])
        for into, update in zip(stack, updates, strict=True):
            update.add(part, into, 1.0)
        yield list(stack if encoding.is_difference else stack.sub_(start[part]))
