"""What a new job may be made from: uploads of this tenant, an example file, a job to change."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core import parsing
from core.errors import Invalid
from frontend.selectors import job as job_selectors
from jobs.models import Artifact
from propius.spec import SCHEMA

UPLOADS_SHOWN = 20
MAX_CHARACTERS = 200_000


@dataclass(frozen=True, slots=True)
class Uploads:
    """Digests of what the tenant has uploaded, newest first."""

    parameters: list[str]
    programs: list[str]


def uploads() -> Uploads:
    """Return the newest uploads that a job may name."""
    usable = Artifact.objects.exclude(status=Artifact.Status.INVALID).order_by("-id")

    def newest(kind: str) -> list[str]:
        return list(usable.filter(kind=kind).values_list("digest", flat=True)[:UPLOADS_SHOWN])

    return Uploads(newest(Artifact.Kind.PARAMETERS), newest(Artifact.Kind.PROGRAM))


def clone_of(job_id: UUID) -> dict[str, Any]:
    """Return the file of a job of the tenant entered. Raises JobUnknown."""
    raw: dict[str, Any] = job_selectors.find(job_id).spec_raw
    return raw


def example(found: Uploads) -> dict[str, Any]:
    """Return a file to begin with, that names the newest uploads."""
    workload: dict[str, Any] = {"kind": "handler", "handler": "train", "dataset": "my-data"}
    if found.programs:
        workload = {"kind": "program", "program": found.programs[0], "dataset": "my-data"}
    return {
        "schema": SCHEMA,
        "name": "my-job",
        "workload": workload,
        "parameters": found.parameters[0] if found.parameters else "",
        "rounds": {"count": 10, "demand": 8, "deadline_s": 600},
        "strategy": {"name": "fedavg"},
        "constraints": {"public": {}},
    }


def written(raw: dict[str, Any]) -> str:
    """Return a file as the page shows it."""
    return json.dumps(raw, indent=2, ensure_ascii=False)


def read(text: str) -> dict[str, Any]:
    """Return what a job file says, in JSON or TOML. Raises Invalid."""
    if len(text) > MAX_CHARACTERS:
        raise Invalid(f"the file has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    if text.lstrip().startswith("{"):
        body = text
    else:
        try:
            body = json.dumps(tomllib.loads(text.replace("\r\n", "\n")))
        except tomllib.TOMLDecodeError as error:
            raise Invalid(
                f"the file is neither JSON (it begins with {{) nor TOML: {error}"
            ) from error
        except ValueError as error:  # of int(), and of str() where it was written in hex
            raise Invalid("the file holds a number of too many digits") from error
        except TypeError as error:
            raise Invalid("the file holds a date or a time; write it as text") from error
        except RecursionError as error:
            raise Invalid(f"the file is nested deeper than {parsing.MAX_DEPTH}") from error
    try:
        raw = parsing.loads(body.encode())
    except UnicodeEncodeError as error:
        raise Invalid("the file holds half of a surrogate pair") from error
    if not isinstance(raw, dict):
        raise Invalid(f"a job is an object, not {type(raw).__name__}")
    return raw
