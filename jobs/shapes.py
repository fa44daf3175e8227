"""Shapes that the APIs of several apps share."""

from __future__ import annotations

from rest_framework import serializers

from jobs.fleet import Figure


class CountSerializer(serializers.Serializer[Figure]):
    """A count of devices: exact if both are equal. Of shared pools a small one is bounded."""

    at_least = serializers.IntegerField(source="least")
    at_most = serializers.IntegerField(source="most")
