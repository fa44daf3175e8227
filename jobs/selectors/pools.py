"""Whose devices may take a job."""

from __future__ import annotations

from clients.selectors import pools_for
from jobs.models import Job


def owns_its_pools(job: Job) -> bool:
    """Tell whether all devices that may take the job are of its tenant's own pools."""
    own = {str(one.id) for one in pools_for(job.tenant_id) if not one.is_shared}
    asked = set(job.spec["effective"]["pools"])
    return bool(asked) and asked <= own
