import numpy as np
import pytest
from scipy.special import expit

from far_keras.training.calibration import fit_calibration
from far_keras.training.thresholds import fit_thresholds

RNG = np.random.default_rng(0)


def drawn(count, slope, offset, spread=3.0):
    """Logits, and labels whose true probability is sigmoid(slope * logit + offset)."""
    logits = RNG.normal(0, spread, count)
    labels = RNG.random(count) < expit(slope * logits + offset)
    return labels.astype(int), logits


@pytest.mark.parametrize(("slope", "offset"), [(0.5, 0.7), (2.0, -1.5), (1.0, 0.0)])
def test_with_many_labels_the_true_scaling_is_found(slope, offset):
    labels, logits = drawn(50_000, slope, offset)
    found = fit_calibration(labels[:, None], logits[:, None], ["a"]).scaling["a"]
    # 50,000 labels leave a standard error of about 0.02; the prior moves it far less.
    np.testing.assert_allclose(found, (slope, offset), atol=0.06)


@pytest.mark.parametrize("positives", [1, 2, 5])
def test_few_positives_do_not_give_wild_values(positives):
    # Told apart without error: the likelihood alone would want an endless slope.
    logits = np.concatenate([np.full(positives, 2.0), np.linspace(-9, -1, 400)])
    labels = np.concatenate([np.ones(positives), np.zeros(400)])
    slope, offset = fit_calibration(labels[:, None], logits[:, None], ["a"]).scaling["a"]
    assert 0.5 < slope < 3
    assert abs(offset) < 2


def test_a_classifier_that_is_wrong_keeps_a_positive_slope():
    labels, logits = drawn(2000, -1.0, 0.0)
    slope, _ = fit_calibration(labels[:, None], logits[:, None], ["a"]).scaling["a"]
    assert 0 < slope < 0.5  # as little said as possible, and the order kept


def test_missing_labels_are_left_out_and_one_class_is_left_alone():
    labels, logits = drawn(3000, 0.5, 0.5)
    columns = np.stack([labels, labels, np.ones_like(labels), np.full_like(labels, -1)], axis=1)
    columns[::3, 1] = -1
    scores = np.stack([logits] * 4, axis=1)
    scores[::3, 1] = 1e3  # would upset the fit if it were looked at
    scaling = fit_calibration(columns, scores, ["all", "some", "one class", "unknown"]).scaling
    np.testing.assert_allclose(scaling["some"], scaling["all"], atol=0.15)
    assert scaling["one class"] == scaling["unknown"] == (1.0, 0.0)


def test_overconfident_answers_become_likelier():
    labels, logits = drawn(1500, 0.4, 0.3)
    calibration = fit_calibration(labels[:1000, None], logits[:1000, None], ["a"])

    def cross_entropy(probabilities):
        truth = labels[1000:]
        return -np.log(np.where(truth == 1, probabilities, 1 - probabilities)).mean()

    before = cross_entropy(expit(logits[1000:]))
    after = cross_entropy(calibration.probabilities(logits[1000:, None], ["a"])[:, 0])
    assert after < before - 0.05


def test_decisions_stay_as_they_are():
    """Thresholds are fitted on smoothed logits, which calibration only stretches and moves."""
    labels, logits = drawn(800, 0.5, 1.0)
    labels, logits = labels[:, None], logits[:, None]
    calibrated = fit_calibration(labels, logits, ["a"]).probabilities(logits, ["a"])
    before = expit(logits) >= fit_thresholds(labels, expit(logits))
    after = calibrated >= fit_thresholds(labels, calibrated)
    np.testing.assert_array_equal(after, before)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        fit_calibration(np.zeros((3, 2)), np.zeros((3, 3)), ["a", "b"])
