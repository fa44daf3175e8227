import copy

import pytest
import torch
from torch import Tensor, nn

from propius import arrays
from propius.program import container
from propius.program.errors import RunError
from propius.program.interpreter import CompiledProgram
from propius.program.schema import Graph, Node
from tests.unit.sdk.program.conftest import Made
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters, with_nodes


def _state(made: Made) -> dict[str, Tensor]:
    state = {k: torch.from_numpy(v) for k, v in arrays.load(made.exported.parameters).items()}
    for parameter in made.exported.manifest.parameters:
        state[parameter.name].requires_grad_(parameter.trainable)
    return state


def _torch(values: dict[str, arrays.Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in values.items()}


@pytest.mark.parametrize("batch", [2, 5, 16])
def test_loss_gradients_and_buffers_equal_eagers(cnn: Made, batch: int) -> None:
    x, y = torch.randn(batch, 1, 8, 8), torch.randint(0, 10, (batch,))
    module = copy.deepcopy(cnn.module).train()
    torch.manual_seed(7)
    loss = nn.functional.cross_entropy(module(x), y)
    loss.backward()

    state = _state(cnn)
    torch.manual_seed(7)
    outputs, updates = cnn.compiled.train(state, {"x": x, "y": y})
    outputs["loss"].backward()

    assert torch.equal(outputs["loss"], loss)
    for name, parameter in module.named_parameters():
        assert torch.equal(state[name].grad, parameter.grad)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(updates[name], buffer, rtol=1e-6, atol=1e-7)


def test_evaluation_equals_eagers_and_changes_no_buffer(cnn: Made) -> None:
    x, y = torch.randn(3, 1, 8, 8), torch.randint(0, 10, (3,))
    module = copy.deepcopy(cnn.module).eval()
    outputs, updates = cnn.compiled.eval(_state(cnn), {"x": x, "y": y})
    assert torch.equal(outputs["predictions"], module(x))
    assert updates == {}


def test_dropout_follows_the_seed(cnn: Made) -> None:
    inputs = {"x": torch.randn(8, 1, 8, 8), "y": torch.zeros(8, dtype=torch.int64)}
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(cnn.compiled.train(_state(cnn), inputs)[0]["loss"].item())
    assert losses[0] == losses[1] != losses[2]


def test_a_hand_computed_loss() -> None:
    compiled = CompiledProgram(linear())
    outputs, _ = compiled.eval(_torch(linear_parameters()), _torch(linear_data()))
    assert outputs["loss"].item() == 2.5  # (1² + 2²) / 2


def test_it_checks_shapes_named_sizes_and_dtypes() -> None:
    compiled = CompiledProgram(linear())
    parameters, data = _torch(linear_parameters()), _torch(linear_data())
    with pytest.raises(RunError, match=r"inputs\.x: shape is \[2, 3\]"):
        compiled.train(parameters, {**data, "x": torch.zeros(2, 3)})
    with pytest.raises(RunError, match=r"inputs\.y.*'batch': 2"):
        compiled.train(parameters, {**data, "y": torch.zeros(3, 1)})
    with pytest.raises(RunError, match=r"inputs\.x: dtype"):
        compiled.train(parameters, {**data, "x": torch.zeros(2, 2, dtype=torch.float64)})
    with pytest.raises(RunError, match=r"inputs\.y: the input is missing"):
        compiled.train(parameters, {"x": data["x"]})
    with pytest.raises(RunError, match=r"sizes\.batch: 1001"):
        compiled.train(parameters, {"x": torch.zeros(1001, 2), "y": torch.zeros(1001, 1)})


def test_it_names_the_node_that_fails() -> None:
    node = Node(op="aten.mm.default", inputs=["%i.x", "%i.x"], outputs=["v0"])
    compiled = CompiledProgram(with_nodes(node))
    data = {"x": torch.zeros(3, 2), "y": torch.zeros(3, 1)}
    with pytest.raises(RunError, match=r"train\.json\.nodes\[0\] \(aten\.mm\.default\)"):
        compiled.train(_torch(linear_parameters()), data)


def test_named_sizes_lists_and_unused_results() -> None:
    nodes = [
        Node(op="aten.zeros.default", inputs=[["$batch", 2]], outputs=["v0"],
             keywords={"dtype": "!F32"}),
        Node(op="aten.cat.default", inputs=[["%i.x", "%v0"], 1], outputs=["v1"]),
        Node(op="aten.max.dim", inputs=["%v1", 1], outputs=["v2", None]),
        Node(op="aten.split.Tensor", inputs=["%v2", 1], outputs=[None, "v3"]),
        Node(op="aten.sum.default", inputs=["%v3"], outputs=["v4"]),
    ]  # fmt: skip
    graph = Graph(nodes=nodes, outputs={"loss": "%v4"})
    program = container.load(container.dump(linear(train=graph)))
    outputs, _ = CompiledProgram(program).train(_torch(linear_parameters()), _torch(linear_data()))
    assert outputs["loss"].item() == 2.0  # the second example's largest feature
