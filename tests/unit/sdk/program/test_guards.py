"""Crafted arguments for kernels that trust them: refused before torch sees them.

Without the guards some of these read or write past a tensor's end and crash this very process.
"""

import re
from typing import Any

import pytest
import torch
from torch import ones, zeros

from propius.program.errors import RunError
from propius.program.guards import GUARDS, guarded
from propius.program.interpreter import CompiledGraph
from propius.program.schema import Node
from tests.unit.sdk.program.programs import linear_data, with_nodes

NO_TRAINING = "aten._native_batch_norm_legit_no_training.default"
FUNCTIONAL = "aten._native_batch_norm_legit_functional.default"
LSTM, GRU = "aten.lstm.input", "aten.gru.input"
ATTENTION = "aten.scaled_dot_product_attention.default"
X, C, ONE = ones(2, 64), ones(64), ones(1)
SEQUENCE = ones(2, 2, 3)
WEIGHTS = [ones(20, 3), ones(20, 5), ones(20), ones(20)]
STATES = [zeros(1, 2, 5), zeros(1, 2, 5)]
END: list[Any] = [True, 1, 0.0, False, False, False]
QUERY, KEY = ones(1, 2, 4, 8), ones(1, 2, 9, 8)


def _batch_norm(*, mean: Any = C, weight: Any = C, data: Any = X) -> list[Any]:
    return [data, weight, weight, mean, mean]


@pytest.mark.parametrize(
    ("op", "arguments", "word"),
    [
        (NO_TRAINING, [*_batch_norm(weight=ONE), 0.1, 1e-5], "weight has shape [1]; [64]"),
        (NO_TRAINING, [*_batch_norm(mean=ONE), 0.1, 1e-5], "running_mean has shape [1]; [64]"),
        (NO_TRAINING, [*_batch_norm(mean=ones(64, 2)), 0.1, 1e-5], "running_mean"),
        (NO_TRAINING, [*_batch_norm(data=ones(())), 0.1, 1e-5], "2 dimensions"),
        (FUNCTIONAL, [*_batch_norm(mean=ONE), True, 0.1, 1e-5], "running_mean has shape [1]"),
        (FUNCTIONAL, [*_batch_norm(weight=ONE), True, 0.1, 1e-5], "weight has shape [1]"),
        (LSTM, [SEQUENCE, STATES, [*WEIGHTS[:1], ones(20, 1), *WEIGHTS[2:]], *END], "weights[1]"),
        (LSTM, [SEQUENCE, STATES, [*WEIGHTS[:2], ONE, ONE], *END], "weights[2] has shape [1]"),
        (LSTM, [SEQUENCE, STATES[:1], WEIGHTS, *END], "an LSTM has 2"),
        (LSTM, [SEQUENCE, [STATES[0], zeros(1, 1, 1)], WEIGHTS, *END], "state has shape"),
        (LSTM, [SEQUENCE, STATES, [w.double() for w in WEIGHTS], *END], "float64"),
        (LSTM, [SEQUENCE, STATES, WEIGHTS[:3], *END], "3 weights; 4"),
        (GRU, [SEQUENCE, STATES[0], WEIGHTS, *END], "weights[0] has shape [20, 3]; [15, 3]"),
        (GRU, [SEQUENCE, STATES, WEIGHTS, *END], "not what the op takes"),
        (ATTENTION, [QUERY, KEY, ones(1, 2, 3, 8)], "differ in length"),
        (ATTENTION, [QUERY, ones(1, 2, 9, 4), KEY], "do not fit"),
        (ATTENTION, [QUERY, KEY, KEY, zeros(4, 3)], "mask [4, 3]"),
    ],
)
def test_it_refuses_shapes_that_the_kernel_would_trust(
    op: str, arguments: list[Any], word: str
) -> None:
    called: list[Any] = []
    with pytest.raises(ValueError, match=re.escape(word)):
        guarded(op, called.append)(*arguments)
    assert not called


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (NO_TRAINING, [*_batch_norm(), 0.1, 1e-5]),
        (FUNCTIONAL, [*_batch_norm(), True, 0.1, 1e-5]),
        (LSTM, [SEQUENCE, STATES, WEIGHTS, *END]),
        (GRU, [SEQUENCE, STATES[0], [w[:15] for w in WEIGHTS], *END]),
        (ATTENTION, [QUERY, KEY, KEY]),
        (ATTENTION, [QUERY, KEY, KEY, zeros(1, 1, 4, 9)]),
        (ATTENTION, [QUERY, KEY, KEY, zeros(4, 9)]),
    ],
)
def test_it_lets_pass_what_torch_computes(op: str, arguments: list[Any]) -> None:
    GUARDS[op](arguments)
    _, name, overload = op.split(".")
    assert getattr(getattr(torch.ops.aten, name), overload)(*arguments) is not None


def test_a_program_meets_the_guard_at_its_node() -> None:
    node = Node(
        op=NO_TRAINING,
        inputs=["%i.x", "%p.bias", "%p.bias", "%p.bias", "%p.bias", 0.1, 1e-5],
        outputs=["v0", "v1", "v2"],
    )
    program = with_nodes(node)
    graph = CompiledGraph("train.json", program.train, program.manifest, {})
    data = {name: torch.from_numpy(array) for name, array in linear_data().items()}
    with pytest.raises(RunError, match=r"weight has shape \[1\]; \[2\] is needed") as caught:
        graph({"weight": ones(1, 2), "bias": ONE}, data)
    assert caught.value.field == f"train.json.nodes[0] ({NO_TRAINING})"
