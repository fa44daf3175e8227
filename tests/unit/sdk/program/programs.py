"""Small programs for tests, written by hand, and ways to break one."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from propius import arrays
from propius.program import container
from propius.program.schema import Graph, Input, Manifest, Node, Parameter, Size


def linear(**changes: Any) -> container.Program:
    """ŷ = x·wᵀ + b with two features; loss = mean (ŷ − y)²."""
    manifest = Manifest(
        format=1,
        sizes={"batch": Size(min=1, max=1000)},
        parameters=[
            Parameter(name="weight", dtype="F32", shape=[1, 2], rule="mean", trainable=True),
            Parameter(name="bias", dtype="F32", shape=[1], rule="mean", trainable=True),
        ],
        inputs=[
            Input(name="x", dtype="F32", shape=["batch", 2]),
            Input(name="y", dtype="F32", shape=["batch", 1]),
        ],
        loss="loss",
    )
    graph = Graph(
        nodes=[
            Node(
                op="aten.linear.default",
                inputs=["%i.x", "%p.weight", "%p.bias"],
                outputs=["v0"],
            ),
            Node(op="aten.mse_loss.default", inputs=["%v0", "%i.y"], outputs=["v1"]),
        ],
        outputs={"loss": "%v1", "predictions": "%v0"},
    )
    parts = {"manifest": manifest, "train": graph, "eval": graph, "constants": arrays.save({})}
    return container.Program(**{**parts, **changes})


def linear_parameters() -> dict[str, arrays.Array]:
    return {"weight": np.zeros((1, 2), np.float32), "bias": np.zeros(1, np.float32)}


def linear_data() -> dict[str, arrays.Array]:
    return {
        "x": np.array([[1, 0], [0, 2]], np.float32),
        "y": np.array([[1], [2]], np.float32),
    }


def with_nodes(*nodes: Node, loss: str = "%v0", **graph: Any) -> container.Program:
    """The linear program with other nodes in its train graph."""
    return linear(train=Graph(nodes=list(nodes), outputs={"loss": loss}, **graph))


def rewritten(entry: str, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The linear program's bytes after a change to the JSON of one entry."""
    parts = entries(container.dump(linear()))
    value = json.loads(parts[entry])
    change(value)
    parts[entry] = json.dumps(value).encode()
    return zipped(parts.items())


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: Any, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in parts:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, compression)
    return buffer.getvalue()
