import numpy as np
import pytest

from far_keras.training.thresholds import fit_thresholds

RNG = np.random.default_rng(0)


def balanced_accuracy(labels, scores, threshold):
    yes = scores >= threshold
    return (yes[labels == 1].mean() + (~yes[labels == 0]).mean()) / 2


def draw(rng, positives, negatives):
    """Labels and probabilities of two overlapping classes, whose best threshold is 0.5."""
    labels = np.repeat([1, 0], [positives, negatives])
    logits = rng.normal(np.where(labels == 1, 1.0, -1.0), 1.0)
    return labels, 1 / (1 + np.exp(-logits))


def test_many_pictures_lead_to_the_best_threshold():
    labels, scores = draw(np.random.default_rng(1), 3000, 3000)
    labels[::7] = -1  # missing ones change nothing
    threshold = fit_thresholds(labels[:, None], scores[:, None])[0]
    # The rate at which balanced accuracy falls off is 0 at 0.5, so a small step costs little.
    assert abs(threshold - 0.5) < 0.05


def test_few_pictures_lead_to_a_better_threshold_than_their_own_best_cut():
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


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(3, 1\)"):
        fit_thresholds([[0], [1]], [[0.1], [0.2], [0.3]])
