"""What the tests of pages look at. Not in conftest.py: that is read before Django is set up."""

from dataclasses import dataclass

from django.contrib.auth.models import User

from clients.models import Pool
from jobs.models import Job, Round
from tenants.models import Tenant
from tenants.scopes import system_scope
from tests.integration import factories


@dataclass
class World:
    """Two tenants, three personas, a shared and a private pool, one job in its first round."""

    tenant: Tenant
    other: Tenant
    owner: User
    viewer: User
    stranger: User
    shared: Pool
    private: Pool
    job: Job
    round: Round


def world() -> World:
    tenant, other = factories.tenant("north"), factories.tenant("south")
    job = factories.job(tenant, name="digits-mlp")
    return World(
        tenant=tenant,
        other=other,
        owner=factories.member(tenant, "owner", "ada"),
        viewer=factories.member(tenant, "viewer", "vera"),
        stranger=factories.member(other, "owner", "stan"),
        shared=factories.pool(name="fleet"),
        private=factories.pool(tenant, name="tablets"),
        job=job,
        round=factories.open_round(job),
    )


def finish_rounds(job: Job, first: int, last: int) -> None:
    """Add completed rounds, with an evaluation of each."""
    with system_scope():
        for number in range(first, last + 1):
            for kind in Round.Kind.values:
                _finish(job, number, kind)
        Job.objects.filter(id=job.id).update(version=last)


def _finish(job: Job, number: int, kind: str) -> None:
    Round.objects.create(
        tenant_id=job.tenant_id,
        job=job,
        number=number,
        kind=kind,
        status="finished",
        outcome="completed",
        demand=6,
        target=6,
        quorum=5,
        assigned=6,
        reported=6,
        base_version=number - (kind == "train"),
        base_digest="b" * 64,
        base_size=1,
        seed=1,
        selection_s=10,
        deadline_s=20,
        metrics={"loss": 1 / number, "accuracy": 1 - 1 / (number + 1)},
        opened_at=factories.NOW,
        selection_ends_at=factories.later(10),
        executing_at=factories.later(1),
        closed_at=factories.later(3),
        finished_at=factories.later(4),
    )
