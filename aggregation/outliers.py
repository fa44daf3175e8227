"""Which updates of a round move the model much further than the others, or much less. Pure.

References
----------
Hampel's identifier: Davies and Gather, *The Identification of Multiple Outliers*, Journal of the
American Statistical Association 88, 1993, section 3; after Hampel, *The Influence Curve and its
Role in Robust Estimation*, ibid. 69, 1974. Up to half of the values may be anything: neither the
median nor the MAD moves far.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

AT_LEAST = 8
"""Norms below which none is judged: the spread of fewer says little."""
WIDTH = 6.0
"""k, in standard deviations: of normally distributed norms about two in a thousand million."""
NORMAL = 1.4826
"""1 / Φ⁻¹(3/4): makes the MAD of a normal distribution its standard deviation."""
FLOOR = 0.01
"""Least spread, as a share of the median: of norms that are alike, rounding is no outlier."""


def among(norms: Sequence[float]) -> list[int]:
    """Return the indices of norms with |x - median| > k · max(1.4826 · MAD, median / 100).

    None of fewer than ``AT_LEAST``, nor where more than half are zero; O(n log n).

    Examples
    --------
    >>> among([4.0, 5.0, 6.0, 5.0, 4.0, 6.0, 5.0, 500.0])
    [7]
    """
    if len(norms) < AT_LEAST:
        return []
    middle = median(norms)
    if not middle:
        return []
    mad = median(abs(one - middle) for one in norms)
    spread = max(NORMAL * mad, FLOOR * middle)
    return [index for index, one in enumerate(norms) if abs(one - middle) > WIDTH * spread]
