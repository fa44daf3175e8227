"""Conditions by which jobs are chosen in several places."""

from __future__ import annotations

from django.db.models import Q

from jobs.models import Job

OPEN = ~Q(status=Job.Status.FINISHED)
TROUBLE = Q(outcome__in=[Job.Outcome.FAILED, Job.Outcome.REJECTED, Job.Outcome.EXPIRED])
