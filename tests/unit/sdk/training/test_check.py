from pathlib import Path

import numpy as np
import pytest

from propius import arrays
from propius.program import container
from propius.program.schema import Node
from propius.training.check import CheckReport, check_program
from tests.unit.sdk.program.programs import linear, linear_parameters, with_nodes


def _check(
    folder: Path, program: container.Program, parameters: dict[str, arrays.Array], **caps: float
) -> CheckReport:
    (folder / "program").write_bytes(container.dump(program))
    arrays.save_file(parameters, folder / "parameters")
    return check_program(folder / "program", folder / "parameters", **caps)  # type: ignore[arg-type]


@pytest.mark.torch
def test_a_good_program_passes(tmp_path: Path) -> None:
    report = _check(tmp_path, linear(), linear_parameters())
    assert report.ok
    assert report.metrics["loss"] > 0


@pytest.mark.parametrize(
    ("parameters", "field", "words"),
    [
        ({"weight": np.zeros((1, 2), np.float32)}, "parameters.tensors.bias", "missing"),
        (
            {**linear_parameters(), "bias": np.array([np.inf], np.float32)},
            "parameters.tensors.bias",
            "infinite",
        ),
    ],
)
def test_a_model_that_does_not_match_is_named(
    tmp_path: Path, parameters: dict[str, arrays.Array], field: str, words: str
) -> None:
    (fault,) = _check(tmp_path, linear(), parameters).errors
    assert fault.field == field
    assert words in fault.message


def test_a_program_that_does_not_load_is_named(tmp_path: Path) -> None:
    program = with_nodes(Node(op="os.system", inputs=["%i.x"], outputs=["v0"]))
    (fault,) = _check(tmp_path, program, linear_parameters()).errors
    assert (fault.code, fault.field) == ("op_not_allowed", "program.train.json.nodes[0].op")


@pytest.mark.torch
def test_a_program_whose_ops_do_not_fit_is_found_by_running_it(tmp_path: Path) -> None:
    node = Node(op="aten.mm.default", inputs=["%p.weight", "%p.weight"], outputs=["v0"])
    program = with_nodes(node)
    (fault,) = _check(tmp_path, program, linear_parameters()).errors
    assert (fault.code, fault.field) == ("program_failed", "train.json.nodes[0] (aten.mm.default)")


@pytest.mark.torch
def test_a_program_that_grows_without_end_meets_the_memory_cap(tmp_path: Path) -> None:
    nodes = [Node(op="aten.repeat.default", inputs=["%p.bias", [1]], outputs=["v0"])]
    nodes += [
        Node(op="aten.cat.default", inputs=[[f"%v{i}", f"%v{i}"]], outputs=[f"v{i + 1}"])
        for i in range(60)
    ]
    program = with_nodes(*nodes, loss="%v60")
    (fault,) = _check(tmp_path, program, linear_parameters(), memory_mb=600).errors
    assert fault.code == "out_of_memory"


@pytest.mark.torch
def test_a_program_that_takes_too_long_meets_the_time_cap(tmp_path: Path) -> None:
    side = 900
    nodes = [Node(op="aten.ones.default", inputs=[[side, side]], outputs=["v0"])]
    nodes += [
        Node(op="aten.mm.default", inputs=[f"%v{i}", "%v0"], outputs=[f"v{i + 1}"])
        for i in range(15_000)
    ]
    program = with_nodes(*nodes, loss="%v15000")
    (fault,) = _check(tmp_path, program, linear_parameters(), timeout_s=2.0).errors
    assert fault.code == "trainer_timeout"
