import pytest

from far_keras.errors import DeadlineError, OverloadedError, RequestError, UnavailableError
from far_keras.serving.retry import Deadline, Retry

DOWN = UnavailableError("down", "UNAVAILABLE")


def test_pauses_double_up_to_the_longest_and_are_drawn_evenly():
    retry, deadline = Retry(10), Deadline(100)
    for tried, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 2.0), (10, 2.0)):
        pauses = [retry.pause(tried, DOWN, deadline) for _ in range(500)]
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest
        # The mean of 500 even draws: its standard error is 0.013 of the range.
        assert sum(pauses) / 500 == pytest.approx(longest / 2, abs=0.07 * longest)


def test_no_more_than_the_retries_and_nothing_but_unavailable():
    deadline = Deadline(100)
    assert Retry(2).pause(2, DOWN, deadline) is not None
    assert Retry(2).pause(3, DOWN, deadline) is None
    assert Retry(0).pause(1, DOWN, deadline) is None
    for error in (DeadlineError("late"), OverloadedError("full"), RequestError("wrong")):
        assert Retry(2).pause(1, error, deadline) is None


def test_no_pause_beyond_the_deadline():
    late = Deadline(0)
    assert late.left() <= 0
    assert Retry(5).pause(1, DOWN, late) is None
    for _ in range(100):
        pause = Retry(50).pause(20, DOWN, Deadline(0.5))
        assert pause is None or pause < 0.5
