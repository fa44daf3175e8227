import torch

from propius.program.ops import OPS


def test_each_op_exists_writes_nothing_and_has_the_declared_results() -> None:
    for name in OPS:
        _check(name)


def _check(name: str) -> None:
    space, packet, overload = name.split(".")
    assert space == "aten"
    schema = getattr(getattr(torch.ops.aten, packet), overload)._schema
    assert not schema.is_mutable, name
    assert OPS[name].keywords <= {a.name for a in schema.arguments if a.kwarg_only}, name
    returns = [str(value.type) for value in schema.returns]
    assert OPS[name].outputs == (None if returns == ["List[Tensor]"] else len(returns)), name
