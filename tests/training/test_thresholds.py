import numpy as np
import pytest
from scipy.special import expit

from far_keras.training.thresholds import fit_calibration, fit_thresholds

RNG = np.random.default_rng(0)


def balanced_accuracy(labels, scores, threshold):
    yes = scores >= threshold
    return (yes[labels == 1].mean() + (~yes[labels == 0]).mean()) / 2


def draw(rng, positives, negatives):
    """Labels and probabilities of two overlapping classes, whose best threshold is 0.5."""
    labels = np.repeat([1, 0], [positives, negatives])
    logits = rng.normal(np.where(labels == 1, 1.0, -1.0), 1.0)
    return labels, 1 / (1 + np.exp(-logits))


def test_many_images_lead_to_the_best_threshold():
    labels, scores = draw(np.random.default_rng(1), 3000, 3000)
    labels[::7] = -1  # missing ones change nothing
    threshold = fit_thresholds(labels[:, None], scores[:, None])[0]
    # The rate at which balanced accuracy falls off is 0 at 0.5, so a small step costs little.
    assert abs(threshold - 0.5) < 0.05


def test_few_images_lead_to_a_better_threshold_than_their_own_best_cut():
    rng = np.random.default_rng(2)
    fresh = draw(rng, 4000, 4000)
    ours, own_best = [], []
    for _ in range(40):
        labels, scores = draw(rng, 8, 120)
        cuts = np.unique(scores)
        best = cuts[np.argmax([balanced_accuracy(labels, scores, cut) for cut in cuts])]
        fitted = fit_thresholds(labels[:, None], scores[:, None])[0]
        ours.append(balanced_accuracy(*fresh, fitted))
        own_best.append(balanced_accuracy(*fresh, best))
    assert np.mean(ours) > np.mean(own_best) + 0.005


def test_separable_classes_are_separated():
    labels = np.array([[0], [0], [1], [1]])
    assert 0.2 < fit_thresholds(labels, [[0.1], [0.2], [0.6], [0.9]])[0] < 0.6
    assert 0.0 < fit_thresholds(labels, [[0.0], [0.0], [1.0], [1.0]])[0] < 1.0


def test_a_rare_attribute_gets_a_low_threshold():
    labels = np.zeros((1000, 1), int)
    labels[:20] = 1
    scores = np.where(labels == 1, 0.2, 0.05) + RNG.uniform(0, 0.04, (1000, 1))
    assert 0.05 < fit_thresholds(labels, scores)[0] < 0.25


@pytest.mark.parametrize("column", [[-1, -1, -1], [1, 1, -1], [0, 0, 0]])
def test_one_sided_labels_keep_one_half(column):
    assert fit_thresholds(np.array(column)[:, None], [[0.1], [0.2], [0.3]])[0] == 0.5


def test_constant_probabilities_keep_one_half():
    assert fit_thresholds([[0], [1]], [[0.3], [0.3]])[0] == 0.5


def test_shapes_of_thresholds_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(3, 1\)"):
        fit_thresholds([[0], [1]], [[0.1], [0.2], [0.3]])


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
    assert 0 < slope < 0.5  # nearly uninformative, and the order is kept


def test_missing_labels_are_left_out_and_one_class_is_left_alone():
    labels, logits = drawn(3000, 0.5, 0.5)
    columns = np.stack([labels, labels, np.ones_like(labels), np.full_like(labels, -1)], axis=1)
    columns[::3, 1] = -1
    scores = np.stack([logits] * 4, axis=1)
    scores[::3, 1] = 1e3  # would upset the fit if it were looked at
    scaling = fit_calibration(columns, scores, ["all", "some", "one class", "unknown"]).scaling
    np.testing.assert_allclose(scaling["some"], scaling["all"], atol=0.15)
    assert scaling["one class"] == scaling["unknown"] == (1.0, 0.0)


def test_overconfident_predictions_become_likelier():
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


def test_shapes_of_calibration_must_agree():
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        fit_calibration(np.zeros((3, 2)), np.zeros((3, 3)), ["a", "b"])
