"""How large the elements of an update may be, so that no sum of updates overflows; no torch."""

from __future__ import annotations

from collections.abc import Mapping

from propius import codec as codecs
from propius.encodings import SCALE
from propius.tensors import TensorInfo

WIDE = 60
"""Elements stay below 2⁶⁰ ≈ 1e18: times the largest weight, and summed over the most devices that
a round may have, that is still a float32, and so is its square."""
HALF = 15
"""Of a float16 model, whose next version is a float16 again, decoded ones stay below 2¹⁵ = 32768,
half of what that holds. Whole float16 elements need no bound: their mean is one, too."""
INT8 = 7
"""An int8 times its scale is up to 2⁷ times the scale."""


def below(
    header: Mapping[str, TensorInfo], model: Mapping[str, TensorInfo], *, codec: str
) -> dict[str, int]:
    """Return the e for each tensor of an update, whose elements are to be below 2^e.

    Examples
    --------
    >>> model = {"w": TensorInfo("F16", (2,))}
    >>> below(codecs.on_the_wire(model, codec="int8"), model, codec="int8")
    {'w': 15, 'w@scale': 8}
    """
    is_difference = codecs.get(codec).difference
    found = {}
    for name, info in model.items():
        whole = header[name].dtype == "F16" and not is_difference
        found[name] = HALF if info.dtype == "F16" and not whole else WIDE
        if name + SCALE in header:
            found[name + SCALE] = found[name] - INT8
    return found
