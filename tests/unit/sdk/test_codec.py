import numpy as np
import pytest

from propius import arrays, codec, tensors

VALUES = {
    "weight": np.array([[1.0, -2.5], [1 / 3, 65504.0]], np.float32),
    "double": np.array([0.1], np.float64),
    "count": np.array(7, np.int64),
}
DTYPES = {"weight": "F32", "double": "F64", "count": "I64"}


@pytest.mark.parametrize("name", sorted(codec.CODECS))
def test_every_codec_keeps_names_shapes_and_integers(name: str) -> None:
    sent = codec.encode(VALUES, codec=name)
    back = codec.decode(sent, codec=name, dtypes=DTYPES)
    expected = codec.on_the_wire(arrays.describe(VALUES), codec=name)
    tensors.check_matches(arrays.describe(sent), expected)
    tensors.check_matches(tensors.read_header(arrays.save(sent)), expected)
    assert {k: v.dtype for k, v in back.items()} == {k: v.dtype for k, v in VALUES.items()}
    assert back["count"] == 7
    for key, value in VALUES.items():
        np.testing.assert_allclose(back[key], value, rtol=2**-11)


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
