"""Shapes of programs, parameters and model versions."""

from rest_framework import serializers

from aggregation.models import ModelVersion, RoundSum
from jobs.models import Artifact


class ArtifactSerializer(serializers.ModelSerializer):  # type: ignore[type-arg]
    """An uploaded program or set of parameters."""

    class Meta:
        model = Artifact
        fields = ["digest", "size_bytes", "status", "errors", "created_at", "checked_at"]
        read_only_fields = fields


class ArtifactDetailSerializer(serializers.ModelSerializer):  # type: ignore[type-arg]
    """The same with its tensors: name to shape and dtype."""

    class Meta:
        model = Artifact
        fields = [*ArtifactSerializer.Meta.fields, "tensors"]
        read_only_fields = fields


class ModelVersionSerializer(serializers.ModelSerializer):  # type: ignore[type-arg]
    """One version of a job's model."""

    class Meta:
        model = ModelVersion
        fields = [
            "number", "digest", "size_bytes", "reports", "metrics", "evaluation", "pinned",
            "created_at", "released_at",
        ]  # fmt: skip
        read_only_fields = fields


class VersionFilterSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """By what versions may be listed."""

    pinned = serializers.BooleanField(required=False)
    released = serializers.BooleanField(required=False)

    def narrowed(self) -> dict[str, bool]:
        """Return the conditions of the query."""
        asked = dict(self.validated_data)
        if "released" in asked:
            asked["released_at__isnull"] = not asked.pop("released")
        return asked


class PinSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Whether retention has to keep a version."""

    pinned = serializers.BooleanField(default=True)


class RoundSumSerializer(serializers.ModelSerializer):  # type: ignore[type-arg]
    """What a driven job's round ended with: Σ weight · update, and what it is over."""

    number = serializers.IntegerField(source="round.number")

    class Meta:
        model = RoundSum
        fields = [
            "number", "count", "weight", "metrics", "digest", "size_bytes", "created_at",
            "released_at",
        ]  # fmt: skip
        read_only_fields = fields
