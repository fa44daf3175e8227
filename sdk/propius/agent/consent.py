"""The owner's consent: which tenants may run which kinds of workload on which data sets.

``consent.toml`` in the device's folder; without it, the tenants of the pool that the device
enrolled in may run programs, registered handlers and registered queries on every data set listed,
and nobody else anything::

    [pool]                      # tenants of the enrolling pool that have no section of their own
    kinds = ["program"]
    datasets = ["digits"]

    [tenants.acme]              # this tenant, whether of the pool or not
    kinds = ["program", "handler"]
    datasets = ["*"]

    [tenants.globex]            # nothing for this one
    kinds = []
    datasets = []

    [examples]                  # see :mod:`propius.agent.disclosure`
    tell = "bucket"

    [probes]                    # see :mod:`propius.agent.probes`
    per_job = 4
    per_tenant = 64
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from propius.agent import owner_files
from propius.agent.disclosure import Disclosure
from propius.agent.probes import ProbeLimits
from propius.agent.refusals import Refusal

Kind = Literal["program", "handler", "query"]
ANY = "*"


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tenant may run, and on what; ``"*"`` is every data set."""

    kinds: list[Kind] = msgspec.field(default_factory=lambda: ["program", "handler", "query"])
    datasets: list[str] = msgspec.field(default_factory=lambda: [ANY])

    def words(self) -> str:
        """Say the grant in words."""
        if not self.kinds or not self.datasets:
            return "nothing"
        plural = {"program": "programs", "handler": "handlers", "query": "queries"}
        what = " and ".join(plural[kind] for kind in self.kinds)
        where = "every data set" if ANY in self.datasets else ", ".join(self.datasets)
        return f"{what} on {where}"


class ConsentFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's sections."""

    pool: Grant = Grant()
    tenants: dict[str, Grant] = {}
    examples: Disclosure = Disclosure()
    probes: ProbeLimits = ProbeLimits()


class Consent:
    """Answers whether a tenant's workload may use a data set.

    Parameters
    ----------
    file
        The owner's file.
    pool_tenants
        Slugs of the tenants of the pool that the device enrolled in; ``"*"`` for a pool that the
        operator opens to every tenant.
    """

    def __init__(self, file: ConsentFile, *, pool_tenants: list[str]) -> None:
        self.file = file
        self.pool_tenants = frozenset(pool_tenants)

    def grant(self, tenant: str) -> Grant | None:
        """Return what the owner grants this tenant, ``None`` for a stranger."""
        own = self.file.tenants.get(tenant)
        if own is not None:
            return own
        if tenant in self.pool_tenants or ANY in self.pool_tenants:
            return self.file.pool
        return None

    def check(self, *, tenant: str, kind: str, dataset: str) -> Refusal | None:
        """Return why this is not allowed, or ``None``."""
        grant = self.grant(tenant)
        if grant is None:
            return Refusal("consent", f"the owner has not admitted tenant {tenant}")
        if kind not in grant.kinds:
            return Refusal("consent", f"the owner does not let {tenant} run a {kind}")
        if ANY not in grant.datasets and dataset not in grant.datasets:
            return Refusal("consent", f"the owner does not let {tenant} use {dataset!r}")
        return None

    def words(self) -> list[str]:
        """Say the consents in words, a line each."""
        pool = sorted(self.pool_tenants - set(self.file.tenants))
        who = "every tenant" if ANY in pool else ", ".join(pool) or "no other tenant"
        lines = [f"tenants of this pool ({who}): {self.file.pool.words()}"]
        lines += [f"{name}: {grant.words()}" for name, grant in sorted(self.file.tenants.items())]
        if ANY not in self.pool_tenants:
            lines.append("anybody else: nothing")
        return lines


def load(path: Path, *, pool_tenants: list[str]) -> Consent:
    """Read the consent file. Raises :class:`owner_files.OwnerFileError`."""
    file = owner_files.read(path, ConsentFile, missing=ConsentFile())
    return Consent(file, pool_tenants=pool_tenants)
