import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from propius import arrays, tensors
from propius.tensors import TensorError, TensorInfo

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.zeros((0, 2), np.float16),
    "n": np.array(3, np.int64),
}


def _file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_files_are_those_of_the_safetensors_library(tmp_path: Path) -> None:
    ours, theirs = arrays.save(TENSORS), safetensors.numpy.save(TENSORS, {"by": "them"})
    for found in (safetensors.numpy.load(ours), arrays.load(theirs)):
        assert set(found) == set(TENSORS)
        for name, value in TENSORS.items():
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype
    arrays.save_file(TENSORS, tmp_path / "t")
    assert tensors.read_header(tmp_path / "t") == tensors.read_header(ours)
    assert tensors.read_header(ours)["a"].shape == (2, 3)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "not_safetensors", "0 bytes"),
        (b"\x80\x04\x95.", "not_safetensors", "4 bytes"),
        (b"\x80\x04\x95\x0c\0\0\0\0\0\0\0\x8c\x02os", "header_too_large", "at most"),
        (_file({}, length=50), "not_safetensors", "50 bytes"),
        (_file(b"[1]"), "not_safetensors", "not a JSON object"),
        (_file(b"{nonsense"), "not_safetensors", "not valid JSON"),
        (_file(b'{"a":' * 5000), "not_safetensors", "not valid JSON"),
        (_file({"__metadata__": {"a": 1}}), "not_safetensors", "JSON"),
        (_file({"w": _entry("F8")}, b"1234"), "bad_dtype", "'F8'; allowed: F64"),
        (_file({"w": _entry(shape=[-1])}, b"1234"), "bad_shape", "none negative"),
        (_file({"w": _entry(shape=[2**40, 2**40])}, b"1234"), "bad_offsets", "'w' takes"),
        (_file({"w": _entry(shape=[2])}, b"1234"), "bad_offsets", "takes 8 bytes"),
        (_file({"w": _entry(offsets=[0, 8], shape=[2])}, b"1234"), "bad_offsets", "of 4 bytes"),
        (_file({"w": _entry(offsets=[4, 0])}, b"1234"), "bad_offsets", "4 to 0"),
        (_file({"w": _entry(), "v": _entry()}, b"1234"), "bad_offsets", "overlap"),
        (_file({"w": _entry(offsets=[4, 8])}, b"12345678"), "bad_offsets", "begins at byte 4"),
        (_file({"w": _entry()}, b"12345"), "trailing_bytes", "1 bytes follow"),
        (_file({"w": {**_entry(), "code": "x"}}, b"1234"), "bad_entry", "code"),
        (_file({"w": 1}, b"1234"), "bad_entry", "'w'"),
        (_file({"": _entry()}, b"1234"), "bad_name", "printable"),
        (_file({"a\nb": _entry()}, b"1234"), "bad_name", "printable"),
        (
            _file(b'{"w":%s,"\\u0077":%s}' % ((json.dumps(_entry()).encode(),) * 2), b"1234"),
            "duplicate_tensor",
            "'w' stands twice",
        ),
    ],
)
def test_it_names_what_is_wrong_with_a_file(data: bytes, code: str, words: str) -> None:
    with pytest.raises(TensorError) as caught:
        tensors.read_header(data)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_a_header_of_half_a_million_names_is_refused_in_seconds() -> None:
    names = b",".join(b'"%x":0' % number for number in range(500_000))
    started = time.monotonic()
    for text, code in (
        (b"{%s}" % names, "too_many_tensors"),
        (b'{%s,"7a11f":0}' % names, "duplicate_tensor"),
    ):
        with pytest.raises(TensorError) as caught:
            tensors.read_header(_file(text))
        assert caught.value.code == code
    assert time.monotonic() - started < 20


def test_every_cut_of_a_file_is_refused() -> None:
    data = arrays.save(TENSORS)
    for end in range(len(data)):
        with pytest.raises(TensorError):
            tensors.read_header(data[:end])


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"a": TensorInfo("F32", (3, 2))}, "tensors.a", "F32 [2, 3]; F32 [3, 2] is expected"),
        ({"a": TensorInfo("F16", (2, 3))}, "tensors.a", "F32 [2, 3]; F16 [2, 3] is expected"),
        ({"z": TensorInfo("F32", ())}, "tensors.z", "'z' is missing"),
        ({"n": None}, "tensors.n", "'n' is not expected; allowed: a, b"),
    ],
)
def test_it_names_the_first_tensor_that_differs(change: Any, field: str, words: str) -> None:
    expected = {**arrays.describe(TENSORS), **change}
    expected = {name: info for name, info in expected.items() if info is not None}
    with pytest.raises(TensorError) as caught:
        tensors.check_matches(arrays.describe(TENSORS), expected)
    assert (caught.value.code, caught.value.field) == ("tensor_mismatch", field)
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_it_finds_the_element_that_is_not_finite(tmp_path: Path, dtype: Any, bad: float) -> None:
    values = np.zeros(600_000, dtype)
    values[:3] = np.finfo(dtype).max, np.finfo(dtype).min, np.finfo(dtype).smallest_subnormal
    # An odd number of bytes first, so that the floats are not aligned.
    arrays.save_file({"a": np.ones(3, np.uint8), "w": values}, tmp_path / "good")
    tensors.check_finite(tmp_path / "good")
    values[555_555] = bad
    arrays.save_file({"a": np.ones(3, np.uint8), "w": values}, tmp_path / "bad")
    with pytest.raises(TensorError, match=r"'w'.* at index 555555") as caught:
        tensors.check_finite(tmp_path / "bad")
    assert caught.value.code == "not_finite"


@pytest.mark.parametrize(("bits", "finite"), [(0x7F7F, True), (0x7F80, False), (0xFFC0, False)])
def test_it_reads_bfloat16_by_its_bits(bits: int, finite: bool) -> None:
    data = _file({"w": _entry("BF16", [2], [0, 4])}, struct.pack("<HH", 0x3F80, bits))
    if finite:
        tensors.check_finite(data)
    else:
        with pytest.raises(TensorError, match="index 1"):
            tensors.check_finite(data)
    with pytest.raises(TensorError, match="numpy cannot hold"):
        arrays.load(data)
