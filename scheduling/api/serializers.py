"""Shapes of the scheduler's answers."""

from __future__ import annotations

from rest_framework import serializers


class PolicySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The policy by which devices are shared now."""

    name = serializers.CharField()
    parameters = serializers.DictField()
