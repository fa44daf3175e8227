import contextlib
import io
import pickle
import subprocess
import sys
import zipfile
from typing import Any

import pytest

from propius import arrays
from propius.program import container
from propius.program.errors import (
    ContainerError,
    GraphError,
    OpNotAllowed,
    ProgramError,
    SchemaError,
)
from propius.program.schema import NODES_MAX, Graph, Node
from tests.unit.sdk.program.programs import entries, linear, rewritten, with_nodes, zipped


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('a pickle ran')",)


def _refused(data: bytes, kind: type[ProgramError], *words: str) -> ProgramError:
    with pytest.raises(kind) as caught:
        container.load(data)
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_it_comes_back_as_it_was_written() -> None:
    data = container.dump(linear())
    assert container.load(data) == linear()
    assert container.dump(container.load(data)) == data
    assert len(container.digest(data)) == 64


def test_it_loads_from_a_path(tmp_path: Any) -> None:
    (tmp_path / "p").write_bytes(container.dump(linear()))
    assert container.load(tmp_path / "p").rules() == {"weight": "mean", "bias": "mean"}


@pytest.mark.parametrize("entry", container.ENTRIES)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_it_refuses_a_pickle_in_any_entry(entry: str, protocol: int) -> None:
    parts = entries(container.dump(linear()))
    parts[entry] = pickle.dumps(_Bomb(), protocol=protocol)
    error = _refused(zipped(parts.items()), SchemaError, entry)
    assert error.field == entry


def test_it_refuses_a_pickle_in_place_of_the_file() -> None:
    _refused(pickle.dumps(_Bomb()), ContainerError, "not a program")


@pytest.mark.parametrize(
    "name",
    ["../manifest.json", "/etc/passwd", "data.pkl", "archive/data.pkl", "manifest.json\0.pkl"],
)
def test_it_refuses_an_entry_of_another_name(name: str) -> None:
    parts = [*entries(container.dump(linear())).items(), ("PLACE", b"x")]
    # zipfile cuts names at a NUL when it writes, so the name is put into the bytes.
    data = zipped(parts)
    if len(name) != len("PLACE"):
        parts[-1] = ("P" * max(len(name), 1), b"x")
        data = zipped(parts).replace(b"P" * max(len(name), 1), name.encode() or b"/")
    _refused(data, ContainerError, "allowed: manifest.json")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_it_refuses_an_entry_that_stands_twice() -> None:
    parts = list(entries(container.dump(linear())).items())
    _refused(zipped([*parts, parts[0]]), ContainerError, "manifest.json", "twice")


@pytest.mark.parametrize("missing", container.ENTRIES)
def test_it_refuses_a_missing_entry(missing: str) -> None:
    parts = entries(container.dump(linear()))
    del parts[missing]
    _refused(zipped(parts.items()), ContainerError, missing, "missing")


def test_it_refuses_compression_and_so_every_zip_bomb() -> None:
    parts = entries(container.dump(linear()))
    parts["train.json"] = b" " * 10_000_000
    data = zipped(parts.items(), zipfile.ZIP_DEFLATED)
    _refused(data, ContainerError, "compressed")


def test_it_refuses_an_encrypted_entry() -> None:
    data = bytearray(container.dump(linear()))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    _refused(bytes(data), ContainerError, "encryption")


def test_it_refuses_an_entry_over_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(container.ENTRY_BYTES_MAX, "train.json", 10)  # type: ignore[misc]
    _refused(container.dump(linear()), ContainerError, "train.json", "at most 10")


def test_it_refuses_bytes_outside_the_entries() -> None:
    data = container.dump(linear())
    _refused(data + b"x", ContainerError)
    _refused(b"PK\x03\x04" + data, ContainerError)
    middle = data.index(b"PK\x01\x02")
    _refused(data[:middle] + b"hidden" + data[middle:], ContainerError)


def test_it_refuses_every_cut_without_another_kind_of_error() -> None:
    data = container.dump(linear())
    for end in range(0, len(data), 7):
        _refused(data[:end], ProgramError)


def test_it_survives_every_flipped_byte_with_a_program_error_or_a_program() -> None:
    data = container.dump(linear())
    for index in range(len(data)):
        broken = bytearray(data)
        broken[index] ^= 0xFF
        with contextlib.suppress(ProgramError):
            container.load(bytes(broken))


@pytest.mark.parametrize(
    "extent",
    ["__import__('os').system('id')", "batch*2", "batch + 1", "s0", "Symbol('s0')", "", "BATCH"],
)
def test_it_refuses_code_in_a_shape_expression(extent: str) -> None:
    def shape(manifest: dict[str, Any]) -> None:
        manifest["inputs"][0]["shape"] = [extent, 2]

    _refused(rewritten("manifest.json", shape), ProgramError, "manifest.json")

    def argument(graph: dict[str, Any]) -> None:
        graph["nodes"][0] = {
            "op": "aten.view.default",
            "inputs": ["%i.x", [extent]],
            "outputs": ["v0"],
        }

    def size(graph: dict[str, Any]) -> None:
        argument(graph)
        graph["nodes"][0]["inputs"][1] = [f"${extent}"]

    for change in (argument, size):
        _refused(rewritten("train.json", change), GraphError, "no expressions", "nodes[0]")


@pytest.mark.parametrize(
    "op",
    [
        "aten.frobnicate.default", "aten.add_.Tensor", "aten.relu.out", "prims.device_put.default",
        "builtins.eval", "os.system", "aten.linear", "aten.from_file.default", "", "__class__",
        "aten.item.default", "aten.set_.source_Storage", "higher_order.while_loop",
    ],
)  # fmt: skip
def test_it_refuses_an_op_outside_the_list(op: str) -> None:
    program = with_nodes(Node(op=op, inputs=["%i.x"], outputs=["v0"]))
    error = _refused(container.dump(program), OpNotAllowed, repr(op), "allowed are")
    assert error.field == "train.json.nodes[0].op"
    assert error.code == "op_not_allowed"


def test_it_refuses_a_huge_graph() -> None:
    node = Node(op="aten.relu.default", inputs=["%i.x"], outputs=["v0"])
    program = with_nodes(*[node] * (NODES_MAX + 1))
    _refused(container.dump(program), SchemaError, "train.json", str(NODES_MAX))


def test_it_refuses_a_graph_that_goes_around() -> None:
    first = Node(op="aten.relu.default", inputs=["%v1"], outputs=["v0"])
    second = Node(op="aten.relu.default", inputs=["%v0"], outputs=["v1"])
    error = _refused(container.dump(with_nodes(first, second)), GraphError, "%v1", "before")
    assert error.field == "train.json.nodes[0].inputs[0]"


def test_it_refuses_a_result_that_is_defined_twice() -> None:
    node = Node(op="aten.relu.default", inputs=["%i.x"], outputs=["v0"])
    _refused(container.dump(with_nodes(node, node)), GraphError, "defined already")


@pytest.mark.parametrize("op", ["aten.zeros.default", "aten.ones.default"])
def test_it_refuses_a_huge_tensor(op: str) -> None:
    program = with_nodes(Node(op=op, inputs=[[1 << 20, 1 << 20]], outputs=["v0"]))
    _refused(container.dump(program), GraphError, "elements")


@pytest.mark.parametrize("op", ["aten.zeros.default", "aten.full.default"])
def test_it_refuses_a_huge_tensor_by_named_sizes(op: str) -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["sizes"]["huge"] = {"min": 1 << 20, "max": 1 << 20}

    node = Node(op=op, inputs=[["$huge", "$huge"]], outputs=["v0"])
    parts = entries(container.dump(with_nodes(node)))
    parts["manifest.json"] = entries(rewritten("manifest.json", change))["manifest.json"]
    _refused(zipped(parts.items()), GraphError, "elements")


def _negative(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["shape"] = [-1]


def _huge(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["shape"] = [1 << 30, 1 << 30]


def _huge_input(manifest: dict[str, Any]) -> None:
    manifest["sizes"]["batch"] = {"min": 1 << 31, "max": 1 << 31}


def _float(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["shape"] = [1.5]


def _unknown(manifest: dict[str, Any]) -> None:
    manifest["code"] = "import os"


def _newer(manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


def _twice(manifest: dict[str, Any]) -> None:
    manifest["parameters"][1]["name"] = "weight"


def _averaged_counter(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["dtype"] = "I64"


def _odd_name(manifest: dict[str, Any]) -> None:
    manifest["parameters"][0]["name"] = "../weight"


def _no_loss(manifest: dict[str, Any]) -> None:
    manifest["loss"] = "elsewhere"


def _no_target(manifest: dict[str, Any]) -> None:
    manifest["metrics"] = [{"kind": "accuracy", "output": "predictions", "target": "z"}]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_negative, "parameters[0].shape"), (_huge, "elements"), (_float, "parameters[0].shape"),
        (_huge_input, "inputs[0].shape"),
        (_unknown, "code"), (_newer, "format 2"), (_twice, "twice"),
        (_averaged_counter, "server"), (_odd_name, "parameters[0].name"), (_no_loss, "elsewhere"),
        (_no_target, "'z'"),
    ],
)  # fmt: skip
def test_it_names_what_is_wrong_in_the_manifest(change: Any, word: str) -> None:
    _refused(rewritten("manifest.json", change), ProgramError, word)


@pytest.mark.parametrize(
    ("node", "word"),
    [
        (Node(op="aten.relu.default", inputs=["%i.z"], outputs=["v0"]), "%i.z"),
        (Node(op="aten.relu.default", inputs=["%i.x"], outputs=["v0", "v1"]), "1 results"),
        (Node(op="aten.relu.default", inputs=["%i.x"], outputs=["v0"],
              keywords={"out": "%i.x"}), "keyword 'out'"),
        (Node(op="aten.zeros.default", inputs=[[2]], outputs=["v0"],
              keywords={"dtype": "!object"}), "no dtype"),
        (Node(op="aten.gelu.default", inputs=["%i.x"], outputs=["v0"],
              keywords={"approximate": "=eval"}), "=eval"),
    ],
)  # fmt: skip
def test_it_names_what_is_wrong_in_a_node(node: Node, word: str) -> None:
    error = _refused(container.dump(with_nodes(node)), GraphError, word)
    assert error.field.startswith("train.json.nodes[0]")


def test_it_refuses_an_update_of_a_trained_parameter() -> None:
    node = Node(op="aten.relu.default", inputs=["%i.x"], outputs=["v0"])
    program = with_nodes(node, updates={"weight": "%v0"})
    _refused(container.dump(program), GraphError, "updates.weight")


def test_it_checks_the_eval_graph_too() -> None:
    graph = Graph(nodes=[Node(op="os.system", inputs=[], outputs=["v0"])], outputs={"loss": "%v0"})
    error = _refused(container.dump(linear(eval=graph)), OpNotAllowed)
    assert error.field == "eval.json.nodes[0].op"


def test_it_refuses_deep_json() -> None:
    parts = entries(container.dump(linear()))
    parts["train.json"] = b"[" * 100_000 + b"]" * 100_000
    _refused(zipped(parts.items()), SchemaError, "train.json")


def test_it_refuses_constants_that_are_not_finite() -> None:
    import numpy as np

    program = linear(constants=arrays.save({"k": np.array([np.nan], np.float32)}))
    _refused(container.dump(program), SchemaError, "constants.safetensors", "NaN")


def test_it_refuses_a_pt2_archive() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data/sample_inputs/model.pt", pickle.dumps(_Bomb()))
    _refused(buffer.getvalue(), ContainerError, ".pt2")


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, propius, propius.codec, propius.program.container, propius.training.check;"
        "sys.exit('torch' in sys.modules or 'django' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
