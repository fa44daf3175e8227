"""What a device says of itself when it connects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from propius import wire


@dataclass(frozen=True, slots=True)
class Introduction:
    """Id, public attributes and workloads of a device, and its key's signing function."""

    device: str
    sdk: str
    attributes: dict[str, wire.Scalar]
    workloads: dict[str, list[str]]
    sign: Callable[[bytes], bytes] = field(repr=False)

    def hello(self, nonce: str) -> wire.Hello:
        """Return the answer to a challenge."""
        return wire.Hello(
            protocol=wire.PROTOCOL,
            device=self.device,
            signature=self.sign(wire.proof(nonce, self.device)).hex(),
            sdk=self.sdk,
            attributes=self.attributes,
            workloads=self.workloads,
        )
