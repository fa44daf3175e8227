"""The events that a webhook may ask for: those of a job's life, not of each device."""

KINDS = (
    "device.enrolled",
    "device.revoked",
    "job.admitted",
    "job.cancelled",
    "job.completed",
    "job.expired",
    "job.failed",
    "job.paused",
    "job.queued",
    "job.quarantined",
    "job.rejected",
    "job.released",
    "job.resumed",
    "job.submitted",
    "round.abandoned",
    "round.completed",
    "round.failed",
    "round.opened",
)
TEST = "webhook.test"
