"""The ATen ops that a program may use: one table, without torch.

An op is on it when it is a pure function of its arguments (and of torch's seeded generator): it
writes nothing in place, opens nothing, and has no control flow. To allow one more, add a line;
``tests/unit/sdk/program/test_ops.py`` checks that torch has it and that it writes nothing. If its
kernel trusts the shapes that it is given, it needs a guard too, in ``propius.program.guards``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Op:
    """What the container checks of a node that uses this op.

    ``outputs`` is the number of results, ``None`` for a list of any length (``split``);
    ``keywords`` are the keyword arguments allowed; ``shape`` is the position of the argument that
    says how large the result is, for ops that can make a large tensor from nothing.
    """

    outputs: int | None = 1
    keywords: frozenset[str] = frozenset()
    shape: int | None = None


_POINTWISE = """
abs.default neg.default exp.default log.default log1p.default sqrt.default rsqrt.default
sin.default cos.default tanh.default sigmoid.default relu.default relu6.default silu.default
hardswish.default hardsigmoid.default mish.default reciprocal.default sign.default erf.default
floor.default ceil.default round.default square.default logical_not.default
leaky_relu.default elu.default selu.default celu.default hardtanh.default softplus.default
log_sigmoid.default prelu.default threshold.default clamp.default clamp.Tensor
clamp_min.default clamp_max.default
add.Scalar sub.Scalar rsub.Scalar mul.Tensor mul.Scalar
pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar maximum.default minimum.default
where.self where.ScalarOther where.ScalarSelf
eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar
gt.Tensor gt.Scalar ge.Tensor ge.Scalar logical_and.default logical_or.default
bitwise_and.Tensor bitwise_or.Tensor bitwise_not.default
masked_fill.Scalar masked_fill.Tensor alias.default detach.default clone.default
"""
_REDUCTIONS = """
amax.default amin.default argmax.default logsumexp.default any.default all.default
norm.ScalarOpt_dim linalg_vector_norm.default var.correction std.correction
"""
_LAYERS = """
linear.default matmul.default mm.default bmm.default
conv1d.default conv2d.default conv2d.padding conv1d.padding conv_transpose2d.input
max_pool2d.default avg_pool2d.default max_pool1d.default avg_pool1d.default
adaptive_avg_pool1d.default adaptive_avg_pool2d.default
layer_norm.default group_norm.default rms_norm.default embedding.default
scaled_dot_product_attention.default softmax.int log_softmax.int
_softmax.default _log_softmax.default dropout.default
_native_batch_norm_legit_no_training.default|3 _native_batch_norm_legit_functional.default|5
native_layer_norm.default|3 native_group_norm.default|3
native_dropout.default|2 lstm.input|3 gru.input|2
max.dim|2 min.dim|2 topk.default|2 sort.default|2
"""
_LOSSES = """
cross_entropy_loss.default nll_loss_nd.default nll_loss.default mse_loss.default l1_loss.default
smooth_l1_loss.default huber_loss.default binary_cross_entropy.default
binary_cross_entropy_with_logits.default kl_div.default
"""
_SHAPES = """
view.default reshape.default flatten.using_ints unflatten.int permute.default transpose.int
t.default squeeze.default squeeze.dim squeeze.dims unsqueeze.default expand_as.default
select.int slice.Tensor index.Tensor index_select.default gather.default
cat.default stack.default roll.default flip.default tril.default triu.default
movedim.int one_hot.default pixel_shuffle.default
"""


def _table() -> dict[str, Op]:
    ops: dict[str, Op] = {}
    for line in (_POINTWISE, _REDUCTIONS, _LAYERS, _LOSSES, _SHAPES):
        for word in line.split():
            name, _, outputs = word.partition("|")
            ops[f"aten.{name}"] = Op(outputs=int(outputs or 1))
    for name in ("split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int"):
        ops[f"aten.{name}"] = Op(outputs=None)
    for name in ("add.Tensor", "sub.Tensor"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"alpha"}))
    for name in ("addmm.default", "baddbmm.default"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"alpha", "beta"}))
    for name in ("sum.default", "sum.dim_IntList", "mean.default", "mean.dim", "cumsum.default"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"dtype"}))
    for name in ("_to_copy.default", "zeros_like.default", "ones_like.default"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"dtype"}))
    for name in ("rand_like.default", "randn_like.default", "full_like.default"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"dtype"}))
    for name in ("zeros.default", "ones.default", "full.default"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"dtype"}), shape=0)
    for name in ("arange.default", "arange.start", "arange.start_step", "scalar_tensor.default"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"dtype"}))
    ops["aten.constant_pad_nd.default"] = Op()
    for name in ("expand.default", "repeat.default"):
        ops[f"aten.{name}"] = Op(shape=1)
    ops["aten.gelu.default"] = Op(keywords=frozenset({"approximate"}))
    ops["aten.clone.default"] = Op(keywords=frozenset({"memory_format"}))
    ops["aten.div.Tensor"] = ops["aten.div.Scalar"] = Op()
    ops["aten.div.Tensor_mode"] = Op(keywords=frozenset({"rounding_mode"}))
    ops["aten.scaled_dot_product_attention.default"] = Op(
        keywords=frozenset({"scale", "enable_gqa"})
    )
    for name in ("var.correction", "std.correction"):
        ops[f"aten.{name}"] = Op(keywords=frozenset({"correction", "keepdim"}))
    ops["aten.linalg_vector_norm.default"] = Op(keywords=frozenset({"dtype"}))
    ops["aten.kl_div.default"] = Op(keywords=frozenset({"log_target"}))
    return ops


OPS: Mapping[str, Op] = _table()
