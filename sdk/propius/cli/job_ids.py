"""How the commands take a job's id."""

from __future__ import annotations

import re
from typing import Annotated

import typer


def _job_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F-]+", text):
        raise typer.BadParameter(f"{text!r} is no job id; `propius job list` shows the ids")
    return text


JobArgument = Annotated[str, typer.Argument(help="The job's id.", callback=_job_id)]
