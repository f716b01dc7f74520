"""What a user gets back from the objective and from the simulator."""

from __future__ import annotations

import math
import pickle

import pytest

from zerowait.suite import Evaluation


def test_an_evaluation_without_times_is_equal_to_its_like():
    one = Evaluation(1.0, 2.0, {"test": 3.0})
    assert one == Evaluation(1.0, 2.0, {"test": 3.0}) == pickle.loads(pickle.dumps(one))
    assert one == Evaluation(1.0, 2.0, {"test": 3.0}, -math.nan, float("nan"))
    assert Evaluation(1.0, 2.0, {}, 3.0, 5.0) == Evaluation(1, 2, {}, 3, 5)


@pytest.mark.parametrize(
    "other",
    [
        Evaluation(1.5, 2.0),
        Evaluation(1.0, 2.5),
        Evaluation(1.0, 2.0, {"test": 3.0}),
        Evaluation(1.0, 2.0, start=0.0),
        Evaluation(1.0, 2.0, end=0.0),
        (1.0, 2.0),
    ],
)
def test_evaluations_that_differ_in_one_field_are_not_equal(other):
    assert Evaluation(1.0, 2.0) != other
