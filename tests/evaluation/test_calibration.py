import numpy as np

from far_keras.evaluation.metrics import (
    brier_score,
    calibration_metrics,
    expected_calibration_error,
)

LABELS = np.array([[1, 0, -1], [0, 0, -1], [1, -1, -1], [0, 1, -1]])
PROBABILITIES = np.array([[0.9, 0.3, 0.5], [0.9, 0.3, 0.5], [0.9, 0.9, 0.5], [0.1, 0.6, 0.5]])


def test_values_computed_by_hand():
    np.testing.assert_allclose(
        brier_score(LABELS, PROBABILITIES),
        [(0.01 + 0.81 + 0.01 + 0.01) / 4, (0.09 + 0.09 + 0.16) / 3, np.nan],
    )
    # First: three images at 0.9, of which two are a yes, and one at 0.1 which is none.
    # Second: two at 0.3, both none, and one at 0.6 which is a yes; the missing one is left out.
    np.testing.assert_allclose(
        expected_calibration_error(LABELS, PROBABILITIES),
        [(3 * abs(0.9 - 2 / 3) + 0.1) / 4, (2 * 0.3 + 0.4) / 3, np.nan],
    )


def test_certain_and_right_is_zero_and_the_edges_are_in_a_bin():
    labels = np.array([[1], [0]])
    assert expected_calibration_error(labels, labels)[0] == 0
    assert brier_score(labels, labels)[0] == 0
    assert expected_calibration_error(labels, 1 - labels)[0] == 1


def test_figures_are_means_over_attributes_with_both_labels():
    one_class = np.zeros((4, 1), int)
    labels = np.hstack([LABELS, one_class])
    said = np.hstack([PROBABILITIES, one_class + 0.9])
    figures = calibration_metrics(labels, said, np.full_like(said, 0.5))
    assert figures["brier_score"] == 0.25
    np.testing.assert_allclose(
        figures["brier_score_uncalibrated"], np.nanmean(brier_score(LABELS, PROBABILITIES))
    )
    assert figures["expected_calibration_error"] == (0 + 1 / 6) / 2
