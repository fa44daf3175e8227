"""What a device says of itself when it connects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from propius import __version__, wire
from propius.agent import attributes, identity
from propius.agent.device import Device
from propius.sections import CodecName


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


def of(device: Device, overrides: Mapping[str, wire.Scalar]) -> Introduction:
    """Return how a device introduces itself: its attributes measured, then put right.

    Raises
    ------
    OwnerFileError
        ``attributes.toml`` cannot be read.
    """
    schema = device.enrolment.attributes_schema
    return Introduction(
        device=device.enrolment.device,
        sdk=f"propius-python/{__version__}",
        attributes=attributes.collect(device.home, schema, overrides),
        workloads=device.workloads.offered() | {"codec": list(get_args(CodecName))},
        sign=identity.load_key(device.home).sign,
    )
