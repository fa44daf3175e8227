"""What Prometheus is told of jobs."""

from jobs import metrics, services
from jobs.models import Round
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


def test_a_round_that_ended_long_ago_is_counted_once_and_read_no_more():
    pool, ended = factories.pool(), metrics.Ended()
    with system_scope():
        for after in (0, 100, 200):
            job = factories.job(factories.tenant())
            bind(factories.open_round(job), [factories.device(pool)])
            services.cancel(job_id=job.id, actor="x", now=later(after))
        first = samples(ended)
        assert first["propius_rounds_total", ("train", "abandoned")] == 3
        assert first["propius_assignments_total", ("cancelled",)] == 3
        assert samples(ended) == first
        # Were they read again, these would show.
        Round.objects.filter(finished_at__lt=later(150)).update(outcome="failed")
        assert samples(ended) == first
        job = factories.job(factories.tenant())
        bind(factories.open_round(job), [factories.device(pool) for _ in range(2)])
        services.cancel(job_id=job.id, actor="x", now=later(500))
        found = samples(ended)
        assert found["propius_rounds_total", ("train", "abandoned")] == 4
        assert found["propius_assignments_total", ("cancelled",)] == 5
        assert found["propius_leases", ()] == 0


def test_other_rows_than_those_counted_are_counted_anew():
    pool, ended = factories.pool(), metrics.Ended()
    with system_scope():
        for after in (0, 100):
            job = factories.job(factories.tenant())
            bind(factories.open_round(job), [factories.device(pool)])
            services.cancel(job_id=job.id, actor="x", now=later(after))
        assert samples(ended)["propius_rounds_total", ("train", "abandoned")] == 2
        job.delete()  # as after a restore to a moment before it
        assert samples(ended)["propius_rounds_total", ("train", "abandoned")] == 1


def samples(ended=None):
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in metrics.collect(ended or metrics.Ended())
        for one in family.samples
    }
