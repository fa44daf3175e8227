"""Input serializers that refuse what they do not know."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer for input: an unknown field is a fault, never silently dropped."""

    def to_internal_value(self, data: Any) -> Any:
        """Validate, after checking that every field is known."""
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(sorted(self.fields))
                raise serializers.ValidationError(
                    {name: [f"unknown field; known are {known}"] for name in unknown}
                )
        return super().to_internal_value(data)
