"""Uploads: in order, resumed by offset, and every bad update refused with a reason."""

import hashlib
from uuid import UUID

import numpy as np
import pytest

from aggregation import blobs, uploads
from propius import arrays
from propius import codec as codecs
from propius.tensors import TensorInfo

WANTED = {"w": TensorInfo("F32", (2, 3)), "b": TensorInfo("F16", (4,))}
GOOD = {"w": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16)}


@pytest.fixture
def store(tmp_path):
    return blobs.BlobStore(tmp_path)


def sink(store, data, **changes):
    settings = {
        "store": store,
        "assignment_id": UUID(int=7),
        "digest": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "max_bytes": 10_000,
        "wanted": WANTED,
    }
    return uploads.UploadSink(**(settings | changes))


def is_empty(store):
    return not list(store.incoming.iterdir()) and not list(store.digests())


def test_it_makes_a_good_update_durable_under_its_digest(store):
    data = arrays.save(GOOD)
    upload = sink(store, data)
    assert upload.offset == 0
    for begin in range(0, len(data), 100):
        upload.write(begin, memoryview(data)[begin : begin + 100])
    upload.finish()
    assert store.path(upload.digest).read_bytes() == data
    assert not list(store.incoming.iterdir())


def test_it_resumes_where_the_last_connection_ended(store):
    data = arrays.save(GOOD)
    first = sink(store, data)
    first.write(0, data[:50])
    first.close()
    second = sink(store, data)
    assert second.offset == 50
    second.write(50, data[50:])
    second.finish()
    assert store.path(second.digest).read_bytes() == data


def test_another_digest_begins_anew(store):
    data = arrays.save(GOOD)
    first = sink(store, data)
    first.write(0, data[:50])
    first.close()
    assert sink(store, arrays.save(GOOD | {"b": np.ones(4, np.float16)})).offset == 0


def test_an_assignment_keeps_the_bytes_of_one_digest_only(store):
    for value in range(5):
        upload = sink(store, arrays.save(GOOD | {"b": np.full(4, value, np.float16)}))
        upload.write(0, b"x" * 40)
        upload.close()
    other = sink(store, arrays.save(GOOD), assignment_id=UUID(int=8))
    other.close()
    assert len(list(store.incoming.iterdir())) == 2


def test_a_repeat_of_what_nobody_could_count_sends_no_byte_again(store):
    data = arrays.save(GOOD)
    upload = sink(store, data)
    upload.write(0, data)
    upload.finish()
    upload.put_back()
    again = sink(store, data)
    assert again.offset == len(data)
    again.finish()
    upload.put_back()
    with pytest.raises(uploads.UpdateRefused, match="announced"):
        sink(store, data, size_bytes=10).write(0, data)
    assert store.path(upload.digest).read_bytes() == data


def test_what_is_put_back_is_not_mixed_with_what_another_connection_sends(store):
    data = arrays.save(GOOD)
    upload = sink(store, data)
    upload.write(0, data)
    upload.finish()
    other = sink(store, data)
    other.write(0, data[:50])
    upload.put_back()
    assert [one.suffix for one in store.incoming.iterdir()] == [".update"]
    other.write(50, data[50:])
    other.finish()
    assert store.path(upload.digest).read_bytes() == data


def test_a_fault_of_the_disk_keeps_nothing_that_a_second_try_would_call_safe(store):
    data = arrays.save(GOOD)
    upload = sink(store, data)
    upload.write(0, data)
    (store.root / upload.digest[:2]).write_text("in the way")
    with pytest.raises(OSError, match=upload.digest[:2]):
        upload.finish()
    assert not list(store.incoming.iterdir())


def test_two_connections_do_not_mix_their_bytes(store):
    data = arrays.save(GOOD)
    first = sink(store, data)
    with pytest.raises(uploads.UpdateRefused) as refused:
        sink(store, data)
    assert refused.value.code == "upload_busy"
    first.close()
    assert sink(store, data).offset == 0


@pytest.mark.parametrize("offset", [0, 49, 51, 10_000])
def test_it_takes_chunks_strictly_in_order(store, offset):
    data = arrays.save(GOOD)
    upload = sink(store, data)
    upload.write(0, data[:50])
    with pytest.raises(uploads.UpdateRefused, match="byte 50 is next") as refused:
        upload.write(offset, data[50:60])
    assert refused.value.code == "offset_mismatch"
    upload.write(50, data[50:])
    upload.finish()


def test_it_refuses_an_update_over_the_cap_before_a_byte_is_sent(store):
    with pytest.raises(uploads.UpdateRefused, match="at most 10000") as refused:
        sink(store, b"x" * 10_001)
    assert refused.value.code == "too_large"
    assert is_empty(store)


def test_it_refuses_more_bytes_than_announced(store):
    upload = sink(store, b"x" * 10)
    with pytest.raises(uploads.UpdateRefused) as refused:
        upload.write(0, b"x" * 11)
    assert refused.value.code == "too_large"
    assert is_empty(store)


def test_an_incomplete_upload_can_go_on(store):
    data = arrays.save(GOOD)
    upload = sink(store, data)
    upload.write(0, data[:50])
    with pytest.raises(uploads.UpdateRefused, match="50 of") as refused:
        upload.finish()
    assert refused.value.code == "incomplete"
    upload.write(50, data[50:])
    upload.finish()


BAD = {
    "not_safetensors": b"PK\x03\x04 a pickle in a zip, say",
    "trailing": arrays.save(GOOD) + b"more",
    "missing": arrays.save({"w": GOOD["w"]}),
    "extra": arrays.save(GOOD | {"c": GOOD["w"]}),
    "shape": arrays.save(GOOD | {"w": np.ones((3, 2), np.float32)}),
    "dtype": arrays.save(GOOD | {"w": np.ones((2, 3), np.float64)}),
    "nan": arrays.save(GOOD | {"w": np.full((2, 3), np.nan, np.float32)}),
    "infinite": arrays.save(GOOD | {"b": np.array([0, 0, np.inf, 0], np.float16)}),
}


@pytest.mark.parametrize(
    ("name", "code", "field"),
    [
        ("not_safetensors", "header_too_large", "header"),
        ("trailing", "trailing_bytes", "header"),
        ("missing", "tensor_mismatch", "tensors.b"),
        ("extra", "tensor_mismatch", "tensors.c"),
        ("shape", "tensor_mismatch", "tensors.w"),
        ("dtype", "tensor_mismatch", "tensors.w"),
        ("nan", "not_finite", "tensors.w"),
        ("infinite", "not_finite", "tensors.b"),
    ],
)
def test_it_refuses_a_bad_update_and_keeps_nothing_of_it(store, name, code, field):
    upload = sink(store, BAD[name])
    upload.write(0, BAD[name])
    with pytest.raises(uploads.UpdateRefused) as refused:
        upload.finish()
    assert refused.value.code == code
    assert list(refused.value.errors) == [field]
    assert is_empty(store)


def encoded(codec, dtype, value):
    """An update whose largest element is ``value``, as ``codec`` sends it; 127 steps of int8."""
    wide = np.zeros((2, 3), np.float32)
    wide[1, 2] = value
    whole = wide.astype(np.float16) if dtype == "F16" and codec == "fp32" else wide
    return arrays.save(codecs.encode({"w": whole}, codec=codec))


@pytest.mark.parametrize(
    ("codec", "dtype", "most"),
    [
        ("fp32", "F32", 2.0**60),
        ("bf16", "F32", 2.0**60),
        ("int8", "F32", 127 * 2.0**53),
        ("delta-int8", "F32", 127 * 2.0**53),
        ("int8", "BF16", 127 * 2.0**53),
        ("delta-bf16", "F16", 2.0**15),
        ("delta-fp16", "F16", 2.0**15),
        ("int8", "F16", 127 * 2.0**8),
        ("delta-int8", "F16", 127 * 2.0**8),
        ("topk10", "F16", 2.0**15),
    ],
)
def test_an_element_is_bounded_as_it_will_be_summed(store, codec, dtype, most):
    wanted = {"w": TensorInfo(dtype, (2, 3))}
    for value, fits in ((most * 0.99, True), (most * 1.01, False)):
        data = encoded(codec, dtype, value)
        upload = sink(store, data, wanted=wanted, codecs=(codec,))
        upload.write(0, data)
        if fits:
            upload.finish()
            continue
        with pytest.raises(uploads.UpdateRefused) as refused:
            upload.finish()
        assert refused.value.code == "too_large_value"
        assert list(refused.value.errors) == [
            "tensors.w@scale" if codec.endswith("int8") else "tensors.w"
        ]


def test_whole_half_precision_needs_no_bound(store):
    data = encoded("fp32", "F16", 65504.0)
    upload = sink(store, data, wanted={"w": TensorInfo("F16", (2, 3))})
    upload.write(0, data)
    upload.finish()


def test_it_refuses_bytes_that_are_not_those_announced(store):
    data = arrays.save(GOOD)
    upload = sink(store, data, digest="0" * 64)
    upload.write(0, data)
    with pytest.raises(uploads.UpdateRefused, match="announced was 0000") as refused:
        upload.finish()
    assert refused.value.code == "digest_mismatch"
    assert is_empty(store)
