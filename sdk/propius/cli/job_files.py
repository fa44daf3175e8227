"""Job files as people write them: TOML or JSON, with files named beside them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from propius.cli.words import UsageError
from propius.client import Client

NAMED: tuple[tuple[str, ...], ...] = (("parameters",), ("frozen",), ("workload", "program"))
"""Where a job file names a digest, and may name the file of it instead."""
SUFFIXES = (".safetensors", ".program", ".zip")


def read_file(path: Path) -> dict[str, Any]:
    """Read a job file; files that it names become their digests. Raises :class:`UsageError`."""
    raw = _read(path)
    for field, file in files(raw, path.parent).items():
        _set(raw, field, _digest(file))
    return raw


def read_and_upload(path: Path, client: Client) -> dict[str, Any]:
    """Do the same, and upload those files. Raises :class:`UsageError`, ``ApiError``."""
    raw = _read(path)
    for field, file in files(raw, path.parent).items():
        if field == ("workload", "program"):
            digest = client.upload_program(file).digest
            client.wait_program(digest)
        else:
            digest = client.upload_parameters(file)
        _set(raw, field, digest)
    return raw


def files(raw: dict[str, Any], folder: Path) -> dict[tuple[str, ...], Path]:
    """Return the files that a job file names, by field. Raises :class:`UsageError`."""
    found: dict[tuple[str, ...], Path] = {}
    for field in NAMED:
        value: Any = raw
        for step in field:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, str) and value.endswith(SUFFIXES):
            file = folder / value
            if not file.is_file():
                raise UsageError(f"{'.'.join(field)}: there is no file {file}")
            found[field] = file
    return found


def named(folder: Path, digest: str, field: str) -> Path:
    """Find the file of a folder whose content a job names. Raises :class:`UsageError`."""
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and path.is_file() and _digest(path) == digest:
            return path
    raise UsageError(
        f"{field}: no file in {folder} ({', '.join(SUFFIXES)}) has SHA-256 {digest};"
        " put the one that was exported there"
    )


def _read(path: Path) -> dict[str, Any]:
    kind = "JSON" if path.suffix == ".json" else "TOML"
    try:
        text = path.read_text()
        raw = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except FileNotFoundError as error:
        fix = "propius job init writes one to begin with"
        raise UsageError(f"there is no file {path}; {fix}") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name the job file in it") from error
    except ValueError as error:
        raise UsageError(f"{path} is no {kind}: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} holds a {type(raw).__name__}; a job file is one object")
    return raw


def _set(raw: dict[str, Any], field: tuple[str, ...], digest: str) -> None:
    *steps, last = field
    for step in steps:
        raw = raw[step]
    raw[last] = digest


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
