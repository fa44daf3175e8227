"""What goes over the pipe between an agent and its trainer child: JSON, and paths of files.

A frame is four bytes of length (big-endian) and JSON. Tensors and data stay in files that the
child maps itself, so nothing is pickled and nothing large is copied through the pipe.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from propius.training.config import TrainConfig

FRAME_BYTES_MAX = 1 << 20
LENGTH_BYTES = 4
Split = Literal["train", "val"]
Setting = float | int | str | bool


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ProgramTask(_Message, tag="program", tag_field="kind", frozen=True):
    """Train or evaluate a program.

    ``data_path`` is an ``.npz`` or ``.safetensors`` file with arrays named ``x_train``,
    ``y_train``, ``x_val``, … for the program's inputs ``x``, ``y``; ``split`` says which are used.
    ``train`` writes all tensors but those of ``frozen_path``, which the program needs beside the
    parameters and which are not trained, to ``output_path`` as safetensors; the
    tensors of ``correction_path`` are added to the gradients of every step. It ends after
    ``max_steps``, and at the first step after ``stop_after_s`` of training that is at least number
    ``min_steps``.
    """

    action: Literal["train", "evaluate"]
    program_path: str
    parameters_path: str
    data_path: str
    split: Split
    output_path: str | None = None
    frozen_path: str | None = None
    correction_path: str | None = None
    config: TrainConfig = TrainConfig()
    seed: int = 0
    max_steps: int | None = None
    min_steps: int = 1
    stop_after_s: float | None = None


class HandlerTask(_Message, tag="handler", tag_field="kind", frozen=True):
    """Call ``module:function`` with ``(parameters, config, data)``; it returns a ``Result``.

    ``handler`` is the import path that the device's owner registered, never one from the server.
    ``config`` is the job's; put the assignment's ``seed`` into it.
    """

    action: Literal["train", "evaluate"]
    handler: str
    parameters_path: str
    data_path: str
    split: Split
    output_path: str | None = None
    config: dict[str, Setting] = {}


class CheckTask(_Message, tag="check", tag_field="kind", frozen=True):
    """Load a program, and run one train and one eval step on random data."""

    program_path: str
    parameters_path: str


class WarmTask(_Message, tag="warm", tag_field="kind", frozen=True):
    """Import torch now rather than at the first program."""


Task = ProgramTask | HandlerTask | CheckTask | WarmTask


class Request(_Message, frozen=True):
    """A task, and the processor seconds after which the system ends the child."""

    task: Task
    cpu_s: int


class Done(_Message, tag="done", tag_field="kind", frozen=True):
    """The task's outcome.

    ``seconds`` is wall time in the child: ``start_s`` until the first step, ``train_s`` of steps,
    and the writing of the result. ``walked`` is the sum of the steps' learning rates. ``cold`` says
    that the program was loaded for this task, and perhaps torch.
    """

    examples: int = 0
    processed: int = 0
    start_s: float = 0.0
    train_s: float = 0.0
    metrics: dict[str, float] = {}
    steps: int = 0
    walked: float = 0.0
    seconds: float = 0.0
    torch_loaded: bool = False
    cold: bool = False


class Failed(_Message, tag="failed", tag_field="kind", frozen=True):
    """The task's error: a stable code, the field, and words for a person."""

    code: str
    field: str
    message: str
    torch_loaded: bool = False


Reply = Done | Failed
