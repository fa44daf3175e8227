"""``propius job init``: a commented job file and the script that exports its program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from propius.cli.words import UserError, explained

JOB = """\
# A job, as `propius job submit job.toml --wait` runs it. Lines with # are defaults or ideas.
schema = 1
name = "{name}"
parameters = "start.safetensors"    # written by export.py; uploaded with the job

[workload]
kind = "program"                    # or "handler": a function that the devices' owners registered
program = "model.program"           # written by export.py; uploaded with the job
dataset = "digits"                  # the name in the devices' datasets.toml
train = {{ learning_rate = 0.2, epochs = 2, batch_size = 16 }}

[rounds]
count = 20
demand = 8                          # devices in a round
# min_cohort = 5                    # no round is released over fewer reports
# quorum = 0.8                      # this share of the demand is enough at the deadline
# over_selection = 1.0              # ask more devices than are needed
# selection_s = 300                 # seconds to find devices, then to work
# deadline_s = 600

[evaluation]
every = 5                           # rounds; on the devices' x_val and y_val. 0 for none
demand = 8
# fraction = 0.2                    # of the devices: they never train, and only they evaluate

# [strategy]
# name = "fedavg"                   # fedadam, fedprox, median, krum, ...: docs/strategies.md

# [constraints]
# public = {{ memory_mb = 512, os = {{ in = ["linux"] }} }}   # a bare number is a minimum
# private = {{ label_classes = {{ min = 3 }} }}               # only the device ever knows

# codec = "int8"                    # smaller updates: docs/strategies.md
"""
EXPORT = '''\
"""Write model.program and start.safetensors, which job.toml names.

    python export.py

Put your own network, loss and example batch here: 64 numbers in, 10 classes out fit the digits of
scikit-learn, with x_train as float32 of 64 columns and y_train as int64.
"""

import torch
from torch import nn

from propius.program import export

torch.manual_seed(1)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
# Any number of examples: the size of the first dimension is left open.
batch = torch.zeros(4, 64), torch.zeros(4, dtype=torch.int64)

made = export(network, nn.functional.cross_entropy, batch)
with open("model.program", "wb") as file:
    file.write(made.program)
with open("start.safetensors", "wb") as file:
    file.write(made.parameters)
print("wrote model.program and start.safetensors")
'''


@explained
def init(
    folder: Annotated[Path, typer.Argument(help="Where; it is made if need be.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write a commented job.toml and export.py, which makes its program, to begin with."""
    name = folder.resolve().name
    texts = {"job.toml": JOB.format(name=_usable(name)), "export.py": EXPORT}
    there = [file for file in texts if (folder / file).exists()]
    if there and not force:
        raise UserError(f"{folder} has {' and '.join(there)} already; --force replaces them")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text)
    typer.echo(f"wrote {folder / 'job.toml'} and {folder / 'export.py'}; next, in that folder:")
    typer.echo("  python export.py")
    typer.echo("  propius try job.toml --data DATA.npz      # here, without a server")
    typer.echo("  propius job submit job.toml --wait")


def _usable(name: str) -> str:
    kept = "".join(one for one in name if one.isascii() and (one.isalnum() or one in "-_"))
    return kept.lstrip("-")[:60] or "job"
