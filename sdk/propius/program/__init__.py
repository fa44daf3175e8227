"""Programs: training and evaluation of a model as data, not code.

``container`` reads and writes the file and needs no torch; ``exporter`` makes one from an
``nn.Module``; ``interpreter`` runs one. The last two import torch when they are imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from propius.program.exporter import ExportedProgram as ExportedProgram
    from propius.program.exporter import export as export

__all__ = ["ExportedProgram", "export"]


def __getattr__(name: str) -> Any:
    # Lazily, so that a device without torch can read a program's manifest.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("propius.program.exporter"), name)
