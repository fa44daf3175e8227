"""Shapes of jobs and rounds."""

from typing import Any, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs import maintenance, selectors
from jobs.models import Job, Round


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job and where it stands."""

    WAITING = {
        "type": "object",
        "properties": {
            "code": {"type": "string"},
            "message": {"type": "string"},
            "numbers": {"type": "object", "additionalProperties": True},
        },
        "required": ["code", "message", "numbers"],
    }

    waiting = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "id", "name", "status", "outcome", "waiting", "priority", "version",
            "parameters_digest", "submitted_by", "submitted_at", "started_at", "finished_at",
            "spec",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(WAITING)
    def get_waiting(self, job: Job) -> dict[str, Any]:
        """Return what the job waits for."""
        found = selectors.waiting(job, self.context.get("current", {}).get(job.id))
        if found.code in maintenance.FOR_DEVICES:
            page = cast("dict[str, Any]", self.context)
            if "maintenance" not in page:  # one look for all of its jobs
                page["maintenance"] = maintenance.in_force()
            found = maintenance.explained(found, page["maintenance"])
        return {"code": found.code, "message": found.message, "numbers": found.numbers}


class StartRoundSerializer(serializers.Serializer[Any]):
    """What a driven job's next round begins with."""

    number = serializers.IntegerField(min_value=1, max_value=100_000)
    parameters = serializers.RegexField("^[0-9a-f]{64}$")
    demand = serializers.IntegerField(
        min_value=1, max_value=100_000, required=False, help_text="Without it, rounds.demand"
    )


class RoundFilterSerializer(serializers.Serializer[dict[str, Any]]):
    """By what rounds may be listed."""

    status = serializers.ChoiceField(choices=Round.Status.choices, required=False)
    kind = serializers.ChoiceField(choices=Round.Kind.choices, required=False)


class RoundSerializer(serializers.ModelSerializer[Round]):
    """One round, its counts and its metrics."""

    class Meta:
        model = Round
        fields = [
            "id", "number", "attempt", "kind", "status", "outcome", "reason", "demand", "target",
            "quorum", "concurrency", "assigned", "reported", "lost", "extensions", "base_version",
            "metrics", "opened_at", "executing_at", "closed_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class RoundDetailSerializer(serializers.ModelSerializer[Round]):
    """The same, with the parameters it began from and what it waits for."""

    waiting = serializers.SerializerMethodField()

    class Meta:
        model = Round
        fields = [*RoundSerializer.Meta.fields, "base_digest", "waiting"]
        read_only_fields = fields

    @extend_schema_field(JobSerializer.WAITING)
    def get_waiting(self, round_: Round) -> dict[str, Any]:
        """Return what the round waits for; of one that has ended, how."""
        found = selectors.round_waiting(round_)
        return {"code": found.code, "message": found.message, "numbers": found.numbers}
