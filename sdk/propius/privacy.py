"""The settings of central differential privacy, without torch: ``privacy`` of a job file.

What they do stands in ``aggregation/privacy.py``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Norm = Annotated[float, Meta(gt=0, le=1e9)]


class _Clip(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    pass


class FixedClip(_Clip, frozen=True, kw_only=True, tag="fixed"):
    """Every update's change is scaled down to at most this L2 norm."""

    norm: Norm


class AdaptiveClip(_Clip, frozen=True, kw_only=True, tag="adaptive"):
    """The norm follows a quantile of the devices' norms (Andrew et al., arXiv 1905.03871).

    ``norm`` is where it starts, ``rate`` how fast it moves, ``count_noise`` the standard deviation
    of the noise on the number of devices below it; ``None`` is a twentieth of ``rounds.demand``,
    or the noise multiplier if that is more.
    """

    norm: Norm = 0.1
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    rate: Annotated[float, Meta(gt=0, le=10)] = 0.2
    count_noise: Annotated[float, Meta(gt=0, le=1e9)] | None = None


class Privacy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clipping and Gaussian noise on the sum of the updates, all of equal weight.

    ``noise_multiplier`` is the noise's standard deviation over the clipping norm.
    """

    clip: FixedClip | AdaptiveClip
    noise_multiplier: Annotated[float, Meta(gt=0, le=1000)]
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-5
