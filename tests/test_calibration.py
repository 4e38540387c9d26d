import numpy as np
import pytest

from far_keras.calibration import Calibration
from far_keras.errors import ModelError


def test_probabilities_are_the_sigmoid_of_scaled_logits():
    calibration = Calibration({"b": (2.0, -1.0)})
    logits = np.array([[0.0, 0.5], [3.0, -4.0]])
    expected = 1 / (1 + np.exp(-np.array([[0.0, 0.0], [3.0, -9.0]])))
    np.testing.assert_allclose(calibration.probabilities(logits, ("a", "b")), expected, rtol=1e-12)
    assert calibration.slopes(("b", "a")).tolist() == [2.0, 1.0]
    assert calibration.offsets(("b", "a")).tolist() == [-1.0, 0.0]


def test_plain_data_gives_it_back():
    calibration = Calibration({"a": (0.7, 0.1), "b": (2.0, -1.0)})
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize("pair", [(0.0, 1.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, np.inf)])
def test_scaling_that_turns_the_order_about_is_refused(pair):
    with pytest.raises(ModelError, match="'a'"):
        Calibration({"a": pair})


@pytest.mark.parametrize("data", [[], {"a": 1}, {"a": {"slope": 1}}, {"a": {"slope": "x"}}])
def test_other_data_are_refused(data):
    with pytest.raises(ModelError, match=r"calibration\.json"):
        Calibration.from_dict(data, "calibration.json")
