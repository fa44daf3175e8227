"""How the demo deals its data out."""

import numpy as np
import pytest

from demo import data


def test_every_example_is_dealt_once_and_no_hand_is_short() -> None:
    labels = np.array([0, 1, 2] * 100)
    hands = data.deal(labels, 20, least=6)
    assert sorted(np.concatenate(hands).tolist()) == list(range(300))
    assert min(map(len, hands)) >= 6


def test_dealing_is_the_same_every_time_and_uneven() -> None:
    labels = np.arange(10).repeat(40)
    first, again = (data.deal(labels, 8, least=1) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    shares = [np.bincount(labels[hand], minlength=10) / len(hand) for hand in first]
    assert max(share.max() for share in shares) > 0.25  # 0.1 were it independent of the class


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="10 examples do not give 4 devices 3 each"):
        data.deal(np.zeros(10, np.int64), 4, least=3)


@pytest.mark.parametrize(("load", "classes"), [(data.digits, 10), (data.breast_cancer, 2)])
def test_the_test_split_has_every_class_and_no_training_example(load, classes) -> None:  # type: ignore[no-untyped-def]
    dataset = load()
    assert np.unique(dataset.test.y).tolist() == list(range(classes))
    assert len(dataset.test) == pytest.approx(0.2 * (len(dataset.train) + len(dataset.test)), abs=2)
    known = {row.tobytes() for row in dataset.train.x}
    assert not any(row.tobytes() in known for row in dataset.test.x)
