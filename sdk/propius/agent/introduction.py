"""What a device says of itself when it connects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from propius import __version__, wire
from propius.agent import attributes, identity
from propius.agent.device import Device
from propius.agent.owner_files import OwnerFileError
from propius.sections import CodecName

log = logging.getLogger(__name__)
AGAIN_S = 600.0
"""Between changes of what is told on one connection: the platform allows few."""
Attributes = dict[str, wire.Scalar]


@dataclass(slots=True)
class Introduction:
    """Id, public attributes and workloads of a device, and its key's signing function.

    ``measure`` tells the attributes as they are now.
    """

    device: str
    sdk: str
    attributes: Attributes
    workloads: dict[str, list[str]]
    sign: Callable[[bytes], bytes] = field(repr=False)
    measure: Callable[[], Attributes] | None = field(default=None, repr=False)
    _told: Attributes | None = field(default=None, init=False, repr=False)
    _measured_at: float = field(default=float("-inf"), init=False, repr=False)

    def renew(self, now: float, *, after_s: float = 0.0) -> None:
        """Measure anew, if the last time was ``after_s`` ago; what fails leaves all as it was."""
        if self.measure is None or now < self._measured_at + after_s:
            return
        self._measured_at = now
        try:
            self.attributes = self.measure()
        except (OSError, OwnerFileError) as error:
            log.warning("attributes.unreadable %s", error)

    def check_in(self) -> wire.CheckIn:
        """Return the word that asks for work, with what has changed since it was told."""
        if self.attributes == self._told:
            return wire.CheckIn()
        self._told = self.attributes
        return wire.CheckIn(attributes=self.attributes)

    def hello(self, nonce: str) -> wire.Hello:
        """Return the answer to a challenge."""
        self._told = self.attributes
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
    types = {one.name: one.type for one in device.enrolment.attributes_schema}
    # Read once, as all of the owner's files; and a plugin may take its time.
    instead = attributes.given(device.home, types, overrides)

    def measure() -> Attributes:
        return attributes.told(device.home, types, instead)

    return Introduction(
        device=device.enrolment.device,
        sdk=f"propius-python/{__version__}",
        attributes=measure(),
        workloads=device.workloads.offered() | {"codec": list(get_args(CodecName))},
        sign=identity.load_key(device.home).sign,
        measure=measure,
    )
