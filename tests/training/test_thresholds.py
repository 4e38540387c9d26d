import numpy as np
import pytest

from far_keras.training.thresholds import fit_thresholds

RNG = np.random.default_rng(0)


def balanced_accuracy(labels, scores, threshold):
    yes = scores >= threshold
    return (yes[labels == 1].mean() + (~yes[labels == 0]).mean()) / 2


def test_no_other_threshold_is_better():
    labels = RNG.integers(-1, 2, (300, 4))
    scores = np.clip(0.2 * labels + RNG.uniform(0, 0.7, (300, 4)), 0, 1).round(2)  # with ties
    thresholds = fit_thresholds(labels, scores)
    for a in range(4):
        ours = balanced_accuracy(labels[:, a], scores[:, a], thresholds[a])
        best = max(balanced_accuracy(labels[:, a], scores[:, a], t) for t in np.linspace(0, 1, 999))
        assert ours >= best - 1e-12


def test_the_middle_of_the_widest_gap_is_taken():
    labels = np.array([[0], [0], [1], [1]])
    np.testing.assert_allclose(fit_thresholds(labels, [[0.1], [0.2], [0.6], [0.9]]), [0.4])


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
