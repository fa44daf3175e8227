"""Jobs, rounds and assignments: the state that both planes serve."""

from jobs.models.jobs import Artifact, Job
from jobs.models.operators import Maintenance, Quarantine
from jobs.models.rounds import Assignment, Round

__all__ = ["Artifact", "Assignment", "Job", "Maintenance", "Quarantine", "Round"]
