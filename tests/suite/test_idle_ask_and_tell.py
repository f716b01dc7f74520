"""Ask and tell: an optimizer says when it has nothing to evaluate, and may ask for whole batches."""

from __future__ import annotations

import pytest
from drivers import Lookup

from zerowait.suite import Overhead, Query, simulate
from zerowait.suite.rules.errors import SpecificationError


def spans(trace):
    return list(zip(trace["start"], trace["end"], strict=True))


def idle_releases(trace):
    return trace.attrs["zerowait"]["idle_releases"]


# -- idle without guessing ---------------------------------------------------------------------------------------------


class Answers:
    """An ask-and-tell optimizer whose answers are listed: a number asks for that configuration, None waits."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def ask(self):
        x = next(self.answers)
        return None if x is None else Query({"x": x})

    def tell(self, query, evaluation):
        pass


def test_after_none_an_optimizer_is_asked_again_when_the_next_result_has_arrived():
    # Configuration 0 runs until 3. The second worker gets none at 0; it gets configuration 1 when 0 has been told, at
    # 3, like the first worker configuration 2. At 4 there is none; at 6 both workers are free and 3 takes one of them.
    runtimes = Lookup((3.0, 1.0, 3.0, 2.0))
    trace = simulate(Answers(0, None, 1, 2, None, 3), runtimes, n_workers=2, overhead=Overhead.none())
    assert spans(trace) == [(0.0, 3.0), (3.0, 4.0), (3.0, 6.0), (6.0, 8.0)]
    assert idle_releases(trace) == 0


def test_after_none_the_next_configuration_is_charged_once():
    # 0: 0.5-3.5; none; 1 at 4.0-5.0 and 2 at 4.5-7.5; at 5 none; 3 at 8.0-10.0.
    runtimes = Lookup((3.0, 1.0, 3.0, 2.0))
    trace = simulate(Answers(0, None, 1, 2, None, 3), runtimes, n_workers=2, overhead=Overhead.fixed(0.5))
    assert spans(trace) == [(0.5, 3.5), (4.0, 5.0), (4.5, 7.5), (8.0, 10.0)]
    assert trace["overhead"].tolist() == [0.5] * 4


@pytest.mark.parametrize("answers", [(None,), (0, 1, None, None, None)])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_none_with_nothing_in_flight_is_an_error(answers, batch_size):
    with pytest.raises(SpecificationError, match=r"ask\(\) returned None while no evaluation is in flight"):
        simulate(Answers(*answers), Lookup((1.0, 1.0)), n_workers=2, overhead=Overhead.none(), batch_size=batch_size)


# -- synchronous batches -----------------------------------------------------------------------------------------------


def in_batches(batch_size, n_workers, overhead, runtimes, **specification):
    optimizer = Answers(*range(len(runtimes)))
    return spans(
        simulate(
            optimizer,
            Lookup(tuple(map(float, runtimes))),
            n_workers=n_workers,
            batch_size=batch_size,
            overhead=overhead,
            **specification,
        )
    )


def test_batches_of_three_on_two_workers():
    # 0-3 and 0-1, the third takes the second worker at 1 until 3. All are complete at 3: 3-5, 3-5, and the sixth at 5.
    assert in_batches(3, 2, Overhead.none(), [3, 1, 2, 2, 2, 1]) == [(0, 1), (0, 3), (1, 3), (3, 5), (3, 5), (5, 6)]


def test_batches_of_three_on_two_workers_at_half_a_second():
    # They are sampled at 0.5, 1.0 and 1.5. The third waits for the second worker until 2. Complete at 4, the next ones
    # are sampled at 4.5, 5.0 and 5.5, and the last waits until 6.5.
    assert in_batches(3, 2, Overhead.fixed(0.5), [3, 1, 2, 2, 2, 1]) == [
        (1.0, 2.0),
        (0.5, 3.5),
        (2.0, 4.0),
        (4.5, 6.5),
        (5.0, 7.0),
        (6.5, 7.5),
    ]


def test_batches_of_four_on_three_workers():
    # 0-4, 0-1, 0-2, and the fourth at 1 until 3. Complete at 4: three times 4-5, and the last at 5 until 10.
    assert in_batches(4, 3, Overhead.none(), [4, 1, 2, 2, 1, 1, 1, 5]) == [
        (0, 1),
        (0, 2),
        (1, 3),
        (0, 4),
        (4, 5),
        (4, 5),
        (4, 5),
        (5, 10),
    ]


def test_batches_of_four_on_three_workers_at_one_second():
    # Sampled at 1, 2, 3, 4: 1-5, 2-3, 3-5, and the fourth at 4, when a worker has been free since 3. Complete at 6:
    # sampled at 7, 8, 9, 10.
    assert in_batches(4, 3, Overhead.fixed(1.0), [4, 1, 2, 2, 1, 1, 1, 5]) == [
        (2, 3),
        (1, 5),
        (3, 5),
        (4, 6),
        (7, 8),
        (8, 9),
        (9, 10),
        (10, 15),
    ]


def test_batches_of_four_on_three_workers_that_sample_in_parallel():
    # All are there at 1: 1-5, 1-2, 1-3, 2-4; complete at 5, the next at 6: three times 6-7, and 7-12.
    assert in_batches(4, 3, Overhead.fixed(1.0, sampling="parallel"), [4, 1, 2, 2, 1, 1, 1, 5]) == [
        (1, 2),
        (1, 3),
        (2, 4),
        (1, 5),
        (6, 7),
        (6, 7),
        (6, 7),
        (7, 12),
    ]


def test_batches_smaller_than_the_number_of_workers_leave_the_others_idle():
    assert in_batches(2, 3, Overhead.none(), [2, 3, 1, 1]) == [(0, 2), (0, 3), (3, 4), (3, 4)]


def test_the_last_batch_is_as_small_as_the_budget_or_the_optimizer_leaves_it():
    assert in_batches(3, 2, Overhead.none(), [3, 1, 2, 2, 4], max_evaluations=4) == [(0, 1), (0, 3), (1, 3), (3, 5)]
    assert in_batches(3, 2, Overhead.none(), [3, 1, 2, 2]) == [(0, 1), (0, 3), (1, 3), (3, 5)]


def test_a_batch_of_one_is_sequential_and_so_is_one_worker():
    assert in_batches(1, 3, Overhead.none(), [2, 3, 1]) == [(0, 2), (2, 5), (5, 6)]
    assert in_batches(3, 1, Overhead.fixed(1.0), [2, 3, 1]) == [(1, 3), (3, 6), (6, 7)]


def test_none_ends_a_batch_early():
    # A batch of up to three; the optimizer has two for now, and two more when these are complete at 3.
    optimizer = Answers(0, 1, None, 2, 3)
    trace = simulate(optimizer, Lookup((3.0, 1.0, 2.0, 2.0)), n_workers=2, batch_size=3, overhead=Overhead.none())
    assert spans(trace) == [(0, 1), (0, 3), (3, 5), (3, 5)]
