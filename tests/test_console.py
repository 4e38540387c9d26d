import math

import pytest

from far_keras.console import (
    format_duration,
    format_interval,
    format_number,
    json_number,
    progress_bar,
)


def test_numbers():
    assert format_number(0.9123) == "0.912"
    assert format_number(0.0123, signed=True) == "+0.012"
    assert format_number(math.nan) == "-"
    assert format_interval(0.9, 0.85, 0.95, 2) == "0.90 [0.85, 0.95]"
    assert format_interval(-0.1, -0.2, 0.3, 1, signed=True) == "-0.1 [-0.2, +0.3]"
    assert format_interval(0.9, math.nan, math.nan) == "0.900"
    assert [format_duration(s) for s in (7.2, 59.9, 183.4)] == ["8 s", "1 min 00 s", "3 min 04 s"]
    assert json_number(1 / 3) == pytest.approx(0.333333, abs=1e-9)
    assert json_number(math.inf) is None


def test_a_progress_bar_shows_rate_and_count(capsys):
    with progress_bar() as bar:
        task = bar.add_task("Annotating", total=2)
        bar.advance(task, 2)
    assert "Annotating" in (err := capsys.readouterr().err) and "2/2" in err
    with progress_bar(shown=False) as bar:
        bar.advance(bar.add_task("nothing", total=1))
    assert capsys.readouterr().err == ""
