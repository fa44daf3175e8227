"""Codecs: bounds of what they lose, and files that the server takes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from propius import arrays, codec, encodings, tensors

VALUES = {
    "weight": np.array([[1.0, -2.5], [1 / 3, 65504.0]], np.float32),
    "double": np.array([0.1], np.float64),
    "count": np.array(7, np.int64),
}
INFO = arrays.describe(VALUES)


FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e4, max_value=1e4)
SHAPES = nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
ARRAYS = nps.arrays(np.float32, SHAPES, elements=FLOAT)
CASTS = {"fp32": 0.0, "fp16": 2**-11, "bf16": 2**-8}


def through(array: arrays.Array, name: str) -> arrays.Array:
    sent = codec.encode({"w": array}, codec=name)
    info = arrays.describe({"w": array})
    data = arrays.save(sent)
    tensors.check_matches(tensors.read_header(data), codec.on_the_wire(info, codec=name))
    tensors.check_finite(data)
    codec.check_values(data, codec=name, expected=info)
    back = codec.decode(sent, codec=name, expected=info)["w"]
    assert (back.shape, back.dtype) == (array.shape, array.dtype)
    return back


@pytest.mark.parametrize("name", sorted(codec.CODECS))
def test_every_codec_keeps_names_shapes_and_integers(name: str) -> None:
    sent = codec.encode(VALUES, codec=name)
    back = codec.decode(sent, codec=name, expected=INFO)
    expected = codec.on_the_wire(INFO, codec=name)
    tensors.check_matches(tensors.read_header(arrays.save(sent)), expected)
    assert {k: v.dtype for k, v in back.items()} == {k: v.dtype for k, v in VALUES.items()}
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in VALUES.items()}
    assert back["count"] == 7


@pytest.mark.parametrize("name", sorted(codec.CODECS))
@given(array=ARRAYS)
@settings(max_examples=30, deadline=None)
def test_no_codec_makes_an_upload_that_is_refused(name: str, array: arrays.Array) -> None:
    through(array, name)


@pytest.mark.parametrize(("name", "share"), CASTS.items())
@given(array=ARRAYS)
@settings(max_examples=50, deadline=None)
def test_a_cast_is_off_by_half_a_unit_in_the_last_place(
    name: str, share: float, array: arrays.Array
) -> None:
    # Half of the smallest float16 and bfloat16, whatever the value.
    least = {"fp32": 0, "fp16": 2**-25, "bf16": 2**-134}[name]
    off = np.abs(through(array, name).astype(np.float64) - array)
    assert (off <= np.maximum(share * np.abs(array.astype(np.float64)), least)).all()


@given(array=ARRAYS)
@settings(max_examples=100, deadline=None)
def test_int8_is_off_by_half_of_its_channels_scale(array: arrays.Array) -> None:
    count = encodings.channels(array.shape)
    rows = array.reshape(count, array.size // max(1, count)).astype(np.float64)
    largest = np.abs(rows).max(axis=1, initial=0, keepdims=True)
    off = np.abs(through(array, "int8").reshape(rows.shape) - rows)
    assert (off <= largest / 254 * 1.0001 + 1e-42).all()


@given(array=ARRAYS)
@settings(max_examples=50, deadline=None)
def test_top_k_keeps_the_largest_as_they_are(array: arrays.Array) -> None:
    back = through(array, "topk10")
    sent = back != 0
    assert sent.sum() <= max(1, round(array.size / 10))
    np.testing.assert_array_equal(back[sent], array[sent])
    assert np.abs(array[~sent]).max(initial=0) <= np.abs(array[sent]).min(initial=np.inf)


@pytest.mark.torch
def test_bf16_rounds_as_torch_does() -> None:
    import torch

    array = np.random.default_rng(0).normal(size=70_001).astype(np.float32)
    array[:3] = [1 + 2**-8, 1 + 3 * 2**-8, -3e38]
    there = torch.from_numpy(array).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(through(array, "bf16"), there)


def test_int8_by_hand() -> None:
    sent = codec.encode({"w": np.array([[1.27, -0.634], [0, 0]], np.float32)}, codec="int8")
    assert sent["w"].tolist() == [[127, -63], [0, 0]]
    np.testing.assert_allclose(sent["w@scale"], [0.01, 0], rtol=1e-6)


@pytest.mark.parametrize("name", ["bf16", "int8", "delta-int8"])
def test_a_value_that_a_codec_cannot_hold_is_named(name: str) -> None:
    with pytest.raises(tensors.TensorError, match="'w' reaches") as caught:
        codec.encode({"w": np.array([3.4028e38], np.float32)}, codec=name)
    assert caught.value.code == "out_of_range"


@pytest.mark.parametrize("index", [[1, 1], [1, 0], [-1, 0], [0, 20]])
def test_indices_that_would_write_elsewhere_are_refused(index: list[int]) -> None:
    sent = {"w": np.ones(2, np.float32), "w@index": np.array(index, np.int32)}
    expected = {"w": tensors.TensorInfo("F32", (20,))}
    with pytest.raises(tensors.TensorError, match="must rise") as caught:
        codec.check_values(arrays.save(sent), codec="topk10", expected=expected)
    assert caught.value.code == "bad_index"


def test_scales_that_would_leave_single_precision_are_refused() -> None:
    sent = {"w": np.ones(2, np.int8), "w@scale": np.array([3e38], np.float32)}
    expected = {"w": tensors.TensorInfo("F32", (2,))}
    with pytest.raises(tensors.TensorError, match="scales of 'w'"):
        codec.check_values(arrays.save(sent), codec="int8", expected=expected)


def test_a_model_with_a_codecs_own_name_is_refused() -> None:
    info = tensors.TensorInfo("F32", (2,))
    with pytest.raises(tensors.TensorError, match="w@scale"):
        codec.on_the_wire({"w": info, "w@scale": info}, codec="int8")


def test_fp32_changes_no_bit() -> None:
    assert codec.encode(VALUES, codec="fp32")["weight"] is VALUES["weight"]


def test_fp16_halves_floats_by_hand() -> None:
    sent = codec.encode(VALUES, codec="fp16")
    assert sent["weight"].dtype == np.float16
    assert sent["weight"].nbytes * 2 == VALUES["weight"].nbytes
    assert float(sent["weight"][1, 0]) == 1365 / 4096  # 1/3 to 11 significant bits


def test_fp16_crosses_its_pieces_and_odd_layouts() -> None:
    large = np.arange(200_000, dtype=np.float32).reshape(400, 500).T % 1000
    sent = codec.encode({"w": large}, codec="fp16")["w"]
    np.testing.assert_array_equal(sent, large.astype(np.float16))


def test_a_value_that_fp16_cannot_hold_is_named() -> None:
    with pytest.raises(tensors.TensorError, match=r"'w' reaches 70000.*use codec fp32") as caught:
        codec.encode({"w": np.array([1, -70_000], np.float32)}, codec="fp16")
    assert (caught.value.code, caught.value.field) == ("out_of_range", "tensors.w")


def test_an_unknown_codec_is_named_with_those_there_are() -> None:
    with pytest.raises(tensors.TensorError, match="'zip'; allowed: fp32, fp16"):
        codec.encode(VALUES, codec="zip")
