"""What ``propius try`` does."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from propius import spec, trial
from propius.agent import datasets
from propius.agent.trainer import TrainingError
from propius.app import App
from propius.cli.job_files import named, read_file
from propius.cli.words import Output, UserError, show_one
from propius.training.pool import TrainerPool


def run(
    file: Path,
    data: Path,
    *,
    devices: int,
    split: str,
    rounds: int,
    app: str,
    save: Path,
    memory_mb: int,
    output: Output,
) -> None:
    """Train the job of a file and save its model. Raises UserError."""
    job = spec.normalised(spec.parse(read_file(file)))
    if rounds:
        job["rounds"]["count"] = min(rounds, job["rounds"]["count"])
    try:
        trial.check(job)
        files = _files(job, file.resolve().parent, app)
        shown = asyncio.run(
            _run(job, files, _data(data, job["workload"]["dataset"]), devices, split, save,
                 memory_mb, quiet=output is Output.JSON)
        )  # fmt: skip
    except (trial.TrialError, TrainingError) as error:
        raise UserError(str(error)) from error
    if output is Output.JSON:
        show_one({"rounds": shown, "model": str(save)}, output)
    else:
        typer.echo(f"saved {save} ({save.stat().st_size} bytes)")


async def _run(
    job: dict[str, Any],
    files: trial.Files,
    data: Path,
    devices: int,
    split: str,
    save: Path,
    memory_mb: int,
    *,
    quiet: bool,
) -> list[dict[str, Any]]:
    shown = []
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hands = trial.write_data(data, folder, devices, split, seed=job["seed"])
        # Handlers are imported from where the user stands.
        paths = [str(Path.cwd())]
        async with TrainerPool(1, memory_mb, threads=threads, import_paths=paths) as pool:
            async for one in trial.run(job, files, hands, folder, pool):
                shown.append(asdict(one))
                if not quiet:
                    typer.echo(_line(one))
        save.write_bytes((folder / "model.safetensors").read_bytes())
    return shown


def _line(one: trial.Round) -> str:
    parts = [f"round {one.number}: {one.devices} devices", _words(one.metrics)]
    if one.validation:
        parts.append(f"validation {_words(one.validation)}")
    return "; ".join(parts)


def _words(metrics: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _files(job: dict[str, Any], folder: Path, app: str) -> trial.Files:
    workload = job["workload"]
    parameters = named(folder, job["parameters"], "parameters")
    if workload["kind"] == "program":
        return trial.Files(parameters, named(folder, workload["program"], "workload.program"))
    if not app:
        raise UserError("a handler's functions are needed: --app module:name of its propius.App")
    functions = _references(app).get(workload["handler"], {})
    if "train" not in functions:
        raise UserError(f"{app} has no @app.train({workload['handler']!r})")
    return trial.Files(parameters, None, functions["train"], functions.get("evaluate"))


def _references(reference: str) -> dict[str, dict[str, str]]:
    module, _, name = reference.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{reference!r} cannot be imported ({error}); give module:name") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(found, App):
        raise UserError(f"{reference!r} is a {type(found).__name__}; a propius.App is needed")
    return found.references()


def _data(path: Path, name: str) -> Path:
    if path.suffix == ".npz" and path.is_file():
        return path
    listed = path / "datasets.toml" if path.is_dir() else path
    plain = path / f"{name}.npz"
    if not listed.is_file() and plain.is_file():
        return plain
    if not listed.is_file():
        raise UserError(f"{path} has neither datasets.toml nor {name}.npz")
    found = datasets.load(listed)
    if name not in found:
        raise UserError(f"{listed} has no data set {name!r}; there are {', '.join(found.names())}")
    asyncio.run(found.refresh())
    try:
        found.describe(name)
    except datasets.DatasetError as error:
        raise UserError(str(error)) from error
    return found.path(name)
