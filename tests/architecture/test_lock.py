"""What is asked for, and all that it needs, is locked by version and hash."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

BASE_DIR = Path(__file__).resolve().parents[2]
# .ci/setup installs torch from the build that suits the machine, and the SDK from its folder.
NOT_LOCKED = {"torch", "propius-sdk"}
LOCKS = [
    ("requirements.lock", ["requirements.txt"]),
    ("requirements-dev.lock", ["requirements.txt", "requirements-dev.txt"]),
]


def locked(name: str) -> dict[str, Version]:
    found = re.findall(r"^([\w.-]+)==(\S+)", (BASE_DIR / name).read_text(), re.MULTILINE)
    return {canonicalize_name(one): Version(version) for one, version in found}


def asked(files: list[str]) -> list[Requirement]:
    sdk = tomllib.loads((BASE_DIR / "sdk" / "pyproject.toml").read_text())
    lines = list(sdk["project"]["dependencies"] + sdk["build-system"]["requires"])
    for file in files:
        lines += re.findall(r"^(\w[^#\n]*)", (BASE_DIR / file).read_text(), re.MULTILINE)
    return [Requirement(line) for line in lines]


def needed(wanted: list[Requirement]) -> list[Requirement]:
    """Return ``wanted`` and all that they need here, by what the installed packages say."""
    found, seen = list(wanted), set()
    for one in found:  # grows while it is walked
        for extra in one.extras or {""}:
            if (one.name, extra) in seen:
                continue
            seen.add((one.name, extra))
            for line in metadata.requires(one.name) or []:
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    found.append(below)
    return found


def suits(one: Requirement, versions: dict[str, Version]) -> bool:
    version = versions.get(canonicalize_name(one.name))
    return version is not None and version in one.specifier


@pytest.mark.parametrize(("lock", "files"), LOCKS)
def test_all_that_is_needed_is_locked_in_a_version_that_suits(lock: str, files: list[str]) -> None:
    versions = locked(lock)
    wrong = [
        f"{one} is asked for, {versions.get(canonicalize_name(one.name))} locked: run make lock"
        for one in needed(asked(files))
        if canonicalize_name(one.name) not in NOT_LOCKED and not suits(one, versions)
    ]
    assert wrong == []


@pytest.mark.parametrize("lock", [lock for lock, _ in LOCKS])
def test_each_package_of_a_lock_has_a_hash(lock: str) -> None:
    text = (BASE_DIR / lock).read_text()
    packages = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert [one.splitlines()[0] for one in packages if "--hash=sha256:" not in one] == []
    assert len(packages) == len(locked(lock))


def test_both_locks_hold_the_same_versions() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
