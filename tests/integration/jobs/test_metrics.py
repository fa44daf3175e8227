"""What Prometheus is told of jobs."""

from jobs import metrics, services
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import later
from tests.integration.jobs.test_rounds import bind


def test_it_counts_jobs_leases_and_how_assignments_ended():
    pool = factories.pool()
    job = factories.job(factories.tenant())
    with system_scope():
        bind(factories.open_round(job), [factories.device(pool) for _ in range(2)])
        assert samples()["propius_leases", ()] == 2
        services.sweep(now=later(10.5))
        services.cancel(job_id=job.id, actor="x", now=later(11))
        found = samples()
    assert found["propius_assignments_total", ("expired",)] == 2
    assert found["propius_rounds_total", ("train", "abandoned")] == 1
    assert found["propius_jobs", ("running",)] == 0
    assert found["propius_leases", ()] == 0


def samples():
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in metrics.collect()
        for one in family.samples
    }
