import pytest
import torch
from torch import Tensor, nn

from propius import arrays, tensors
from propius.program import container, export
from propius.program.graph_export import ExportError
from tests.unit.sdk.program.conftest import Made

CROSS_ENTROPY = nn.functional.cross_entropy
BATCH = (torch.zeros(4, 6), torch.zeros(4, dtype=torch.int64))


def test_it_makes_a_small_program_whose_parameters_match(cnn: Made) -> None:
    program = container.load(cnn.exported.program)
    assert len(cnn.exported.program) < 6000
    tensors.check_matches(tensors.read_header(cnn.exported.parameters), program.expected())
    for name, value in arrays.load(cnn.exported.parameters).items():
        assert torch.equal(torch.from_numpy(value), cnn.module.state_dict()[name])


def test_it_averages_weights_and_running_statistics_but_no_counter(cnn: Made) -> None:
    rules = container.load(cnn.exported.program).rules()
    assert rules["first.weight"] == rules["norm.running_var"] == "mean"
    assert rules["norm.num_batches_tracked"] == "server"
    assert set(container.load(cnn.exported.program).train.updates) == {
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    }  # fmt: skip


def test_it_leaves_the_batch_open_and_names_the_inputs(cnn: Made) -> None:
    manifest = cnn.exported.manifest
    assert [(i.name, i.dtype, i.shape) for i in manifest.inputs] == [
        ("x", "F32", ["batch", 1, 8, 8]),
        ("y", "I64", ["batch"]),
    ]
    assert [metric.kind for metric in manifest.metrics] == ["accuracy"]


def test_it_leaves_the_module_alone(cnn: Made) -> None:
    assert cnn.module.training
    assert int(cnn.module.state_dict()["norm.num_batches_tracked"]) == 0


def test_a_frozen_parameter_keeps_the_servers() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    module[0].requires_grad_(False)
    made = export(module, CROSS_ENTROPY, {"features": BATCH[0], "label": BATCH[1]})
    found = {p.name: (p.rule, p.trainable) for p in made.manifest.parameters}
    assert found["0.weight"] == ("server", False)
    assert found["2.weight"] == ("mean", True)
    assert [i.name for i in made.manifest.inputs] == ["features", "label"]


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x) if x.sum() > 0 else -self.last(x)


class _Foreign(_Branches):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(self.last(x))


class _Computes(_Branches):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(x) + torch.zeros(x.shape[0] * 2, 3)[: x.shape[0]]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (_Branches(), ["branches on the value", "torch.where"]),
        (_Foreign(), ["aten.special_bessel_j0.default", "not allowed", "test_export.py"]),
        (_Computes(), ["computed size", "2*"]),
    ],
)
def test_it_says_what_cannot_be_exported_and_why(
    module: nn.Module, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError) as caught:
        export(module, CROSS_ENTROPY, BATCH)
    for word in words:
        assert word in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_it_refuses_a_loss_that_is_not_one_number() -> None:
    def each(predictions: Tensor, target: Tensor) -> Tensor:
        return CROSS_ENTROPY(predictions, target, reduction="none")

    with pytest.raises(ExportError, match="one number"):
        export(nn.Linear(6, 3), each, BATCH)


def test_it_refuses_a_dtype_that_numpy_cannot_hold() -> None:
    module = nn.Linear(6, 3, dtype=torch.bfloat16)
    with pytest.raises(ExportError, match="bfloat16"):
        export(module, CROSS_ENTROPY, (BATCH[0].bfloat16(), BATCH[1]))


@pytest.mark.parametrize("batch", [(torch.zeros(4, 6),), (torch.zeros(1, 6), torch.zeros(1))])
def test_it_wants_a_target_and_two_examples(batch: tuple[Tensor, ...]) -> None:
    with pytest.raises(ExportError, match="example_batch"):
        export(nn.Linear(6, 3), CROSS_ENTROPY, batch)
