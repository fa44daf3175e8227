"""Signatures of profiles under the current constraint groups."""

from __future__ import annotations

from jobs.constraints import Profile
from scheduling.binding import Groups


class Signer:
    """Signs profiles; equal profiles are signed once and kept as one object."""

    def __init__(self) -> None:
        self.groups = Groups("", ())
        self._profiles: dict[str, Profile] = {}
        self._signatures: dict[str, str] = {}

    def intern(self, profile: Profile) -> tuple[str, Profile, bool]:
        """Return the profile's key, the object to keep, and whether it is new here."""
        key = profile.key
        known = self._profiles.get(key)
        if known is not None:
            return key, known, False
        self._profiles[key] = profile
        return key, profile, True

    def sign(self, key: str) -> str:
        """Return the signature of an interned profile."""
        found = self._signatures.get(key)
        if found is None:
            found = self._signatures[key] = self.groups.sign(self._profiles[key])
        return found

    def change(self, groups: Groups) -> bool:
        """Take new groups; tell whether they differ."""
        if groups.version == self.groups.version:
            return False
        self.groups = groups
        self._signatures.clear()
        return True

    def keep(self, keys: set[str]) -> dict[str, Profile]:
        """Forget profiles that no connection has any more; return those that stay."""
        self._profiles = {key: one for key, one in self._profiles.items() if key in keys}
        self._signatures = {key: one for key, one in self._signatures.items() if key in keys}
        return dict(self._profiles)
