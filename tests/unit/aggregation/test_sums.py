"""Sums: hand-computed, and the same bits whatever happened on the way."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from aggregation import strategies, sums
from aggregation.decoding import Encoding
from aggregation.tensor_files import MappedTensors
from propius import arrays, tensors
from propius import codec as codecs

RULES = {"w": "mean", "steps": "server"}


def write(folder, name, **values):
    path = folder / name
    arrays.save_file(values, path)
    return path


def folded(folder, name, paths, weights):
    path = folder / name
    encoding = Encoding("fp32", tensors.read_header(paths[0]), paths[0])
    with path.open("wb") as file:
        sums.fold(paths, weights, encoding, file.write)
    return path


def closed(folder, name, base, partials, weight, strategy="fedavg", rules=RULES):
    path = folder / name
    with path.open("wb") as file:
        sums.close(
            base=base,
            partials=partials,
            merged=sums.Merged(weight, 1),
            rules=rules,
            strategy=strategies.build(strategy, {}),
            state=None,
            write=file.write,
            write_state=lambda data: pytest.fail("fedavg keeps no state"),
        )
    return path


def test_it_adds_up_weighted_updates(tmp_path):
    one = write(tmp_path, "1", w=np.array([1, 2], np.float32), s=np.float32(1).reshape(()))
    two = write(tmp_path, "2", w=np.array([3, -1], np.float32), s=np.float32(2).reshape(()))
    result = arrays.load(folded(tmp_path, "sum", [one, two], [10.0, 5.0]))
    assert result["w"].tolist() == [25.0, 15.0]
    assert result["s"].shape == ()
    assert result["s"] == 20.0


def test_half_precision_is_summed_in_single(tmp_path):
    # 2048 + 1 is no float16; 300 updates of 1.0 in float16 would also lose their small parts.
    paths = [write(tmp_path, str(n), w=np.full(3, 2048, np.float16)) for n in range(2)]
    paths.append(write(tmp_path, "small", w=np.full(3, 1, np.float16)))
    result = arrays.load(folded(tmp_path, "sum", paths, [1.0, 1.0, 1.0]))
    assert result["w"].dtype == np.float32
    assert result["w"].tolist() == [4097.0] * 3


def test_double_precision_stays_double(tmp_path):
    path = write(tmp_path, "1", w=np.array([1 + 2**-40]))
    result = arrays.load(folded(tmp_path, "sum", [path], [1.0]))
    assert result["w"].tolist() == [1 + 2**-40]


@pytest.mark.parametrize("size", [0, 1, 7, sums.CHUNK_ITEMS - 1, sums.CHUNK_ITEMS + 3])
def test_chunks_change_nothing(tmp_path, size):
    random = np.random.default_rng(1)
    values = [random.normal(size=size).astype(np.float32) for _ in range(3)]
    paths = [write(tmp_path, str(n), w=value) for n, value in enumerate(values)]
    weights = [3.0, 0.5, 17.0]
    result = arrays.load(folded(tmp_path, "sum", paths, weights))["w"]
    exact = sum(w * value.astype(np.float64) for w, value in zip(weights, values, strict=True))
    np.testing.assert_allclose(result, exact, rtol=1e-6, atol=1e-5)


def test_the_model_has_the_same_bits_in_whatever_order_batches_were_folded(tmp_path):
    random = np.random.default_rng(2)
    count, size = 11, 70_001
    paths = [
        write(tmp_path, str(n), w=random.normal(size=size).astype(np.float16)) for n in range(count)
    ]
    weights = [float(random.integers(1, 500)) for _ in range(count)]
    base = write(tmp_path, "base", w=np.zeros(size, np.float32), steps=np.array([5], np.int64))
    batches = [slice(0, 4), slice(4, 8), slice(8, 11)]
    results = set()
    for order in itertools.permutations(range(3)):
        partials = {}
        for number in order:
            part = batches[number]
            folded(tmp_path, f"p{number}", paths[part], weights[part])
            # A worker that died after its file was written, and another that did it again:
            partials[number] = folded(tmp_path, f"p{number}", paths[part], weights[part])
        merged = [partials[number] for number in sorted(partials)]
        results.add(closed(tmp_path, "new", base, merged, sum(weights)).read_bytes())
    assert len(results) == 1
    model = arrays.load(results.pop())
    assert model["steps"].tolist() == [5]
    assert abs(model["w"].mean()) < 0.01


def test_a_tensor_that_starts_at_an_odd_byte_is_read(tmp_path):
    data = arrays.save({"w": np.arange(5, dtype=np.float32)})
    length = int.from_bytes(data[:8], "little")
    odd = (length + 3).to_bytes(8, "little") + data[8 : 8 + length] + b"   " + data[8 + length :]
    path = tmp_path / "odd"
    path.write_bytes(odd)
    result = arrays.load(folded(tmp_path, "sum", [path, path], [1.0, 1.0]))
    assert result["w"].tolist() == [0, 2, 4, 6, 8]


def test_folding_refuses_updates_of_different_models(tmp_path):
    one = write(tmp_path, "1", w=np.ones(2, np.float32))
    two = write(tmp_path, "2", w=np.ones(3, np.float32))
    with pytest.raises(tensors.TensorError, match="'w'"):
        folded(tmp_path, "sum", [one, two], [1.0, 1.0])


def test_a_sum_that_left_single_precision_makes_no_version(tmp_path):
    base = write(tmp_path, "base", w=np.zeros(2, np.float32))
    huge = write(tmp_path, "1", w=np.full(2, 3e38, np.float32))
    partial = folded(tmp_path, "sum", [huge], [1e9])
    with pytest.raises(sums.NotFinite, match="'w'"):
        closed(tmp_path, "new", base, [partial], 1e9, rules={"w": "mean"})


def test_a_state_that_left_single_precision_makes_no_version(tmp_path):
    base = write(tmp_path, "base", w=np.zeros(1, np.float32))
    # The model takes the mean of both; their control variates overflow as they are added up.
    large = {"w": np.ones(1, np.float32), "control.w": np.full(1, 3e38, np.float32)}
    partials = [write(tmp_path, name, **large) for name in ("one", "two")]
    with pytest.raises(sums.NotFinite, match="'w/control' of the new version"):
        sums.close(
            base=base,
            partials=partials,
            merged=sums.Merged(2, 2),
            rules={"w": "mean"},
            strategy=strategies.build("scaffold", {"population": 2}),
            state=None,
            write=lambda data: None,
            write_state=lambda data: None,
        )


def test_mapped_tensors_are_views_of_the_file(tmp_path):
    path = write(tmp_path, "1", w=np.arange(3, dtype=np.float32), n=np.zeros((0, 4), np.float32))
    with MappedTensors(path) as file:
        assert torch.equal(file.tensor("w"), torch.tensor([0.0, 1.0, 2.0]))
        assert file.tensor("n").shape == (0, 4)
        file.release("w")
        assert torch.equal(file.tensor("w"), torch.tensor([0.0, 1.0, 2.0]))


def resident_bytes():
    """Pages of this process in memory, mapped files' too."""
    lines = dict(one.split(":") for one in Path("/proc/self/status").read_text().splitlines())
    return sum(int(lines[name].split()[0]) << 10 for name in ("RssAnon", "RssFile", "RssShmem"))


def merge_growth(folder, count):
    """How many bytes more are in memory whenever a tensor of ``count`` merged ones is written."""
    before, most = resident_bytes(), 0

    def look(data):
        nonlocal most
        most = max(most, resident_bytes() - before)

    sums.merge([folder / str(n) for n in range(count)], look)
    return most


def test_merging_holds_no_more_of_fifty_partials_than_of_ten(tmp_path):
    size = 1 << 20
    for number in range(50):
        write(tmp_path, str(number), w=np.ones(size // 4, np.float32))
    merge_growth(tmp_path, 2)  # whatever is loaded once
    few, many = merge_growth(tmp_path, 10), merge_growth(tmp_path, 50)
    assert many < few + 4 * size


def sparse_growth(folder, count, codec_name):
    model = {"w": tensors.TensorInfo("F32", (SPARSE_ITEMS,))}
    encoding = Encoding(codec_name, model, folder / "base")
    before, most = resident_bytes(), 0

    def look(data):
        nonlocal most
        most = max(most, resident_bytes() - before)

    sums.fold([folder / str(n) for n in range(count)], [1.0] * count, encoding, look)
    return most


SPARSE_ITEMS = 1 << 20


def test_folding_holds_no_more_of_fifty_sparse_updates_than_of_ten(tmp_path):
    write(tmp_path, "base", w=np.zeros(SPARSE_ITEMS, np.float32))
    change = np.random.default_rng(0).standard_normal(SPARSE_ITEMS).astype(np.float32)
    for number in range(50):
        write(tmp_path, str(number), **codecs.encode({"w": change}, codec="topk10"))
    sparse_growth(tmp_path, 2, "topk10")
    few, many = (sparse_growth(tmp_path, count, "topk10") for count in (10, 50))
    assert many < few + 40 * (SPARSE_ITEMS // 10)  # of eight bytes for each element that is sent


def test_metrics_are_weighted_means_over_enough_reports():
    reports = [(10.0, {"loss": 1.0}), (30.0, {"loss": 2.0, "secret": 7.0})]
    merged = sums.merge_metrics(
        [sums.sum_metrics(reports), sums.sum_metrics([(10.0, {"loss": 3})])]
    )
    assert merged["loss"] == (100.0, 50.0, 3)
    assert sums.means(merged, cohort=3) == {"loss": 2.0}
    assert sums.means(merged, cohort=4) == {}
