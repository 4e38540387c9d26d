import time

import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.evaluation.bootstrap import (
    ThresholdedProbabilities,
    interval,
    resample_means,
    resample_scores,
    resampling_weights,
)
from far_keras.evaluation.metrics import METRICS, attribute_scores


def test_images_of_one_identity_are_drawn_together():
    identities = np.array(["b", "a", "b", "c", "c", "c"])
    weights = np.concatenate(list(resampling_weights(6, 200, 0, identities)), axis=1)
    assert weights.shape == (6, 200)
    np.testing.assert_array_equal(weights[0], weights[2])
    np.testing.assert_array_equal(weights[3], weights[4])
    # Three identities are drawn with replacement, so each resample holds three draws.
    np.testing.assert_array_equal(weights[0] + weights[1] + weights[3], 3)
    assert not np.array_equal(weights[0], weights[1])


def test_single_images_are_drawn_without_identities_and_the_seed_decides():
    first = np.concatenate(list(resampling_weights(50, 40, 3)), axis=1)
    np.testing.assert_array_equal(first.sum(axis=0), 50)
    again = np.concatenate(list(resampling_weights(50, 40, 3)), axis=1)
    np.testing.assert_array_equal(first, again)
    other = np.concatenate(list(resampling_weights(50, 40, 4)), axis=1)
    assert not np.array_equal(first, other)


def test_chunks_hold_all_resamples_of_many_images():
    chunks = list(resampling_weights(1_000_000, 9, 0))
    assert len(chunks) > 1
    assert sum(chunk.shape[1] for chunk in chunks) == 9


def test_resampled_scores_equal_scores_of_the_drawn_images():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (30, 3))
    model = ThresholdedProbabilities(rng.random((30, 3)), np.array([0.3, 0.5, 0.7]))
    samples = resample_scores(labels, {"m": model}, resamples=5, seed=2)["m"]
    weights = next(resampling_weights(30, 5, 2))
    for r in range(5):
        drawn = np.repeat(np.arange(30), weights[:, r].astype(int))
        expected = attribute_scores(labels[drawn], model.probabilities[drawn], model.thresholds)
        for metric in METRICS:
            # Sums of whole numbers: only the last bits may differ.
            np.testing.assert_allclose(samples[metric][r], expected[metric], rtol=0, atol=1e-12)


def test_a_model_against_itself_has_no_difference():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 2))
    model = ThresholdedProbabilities(rng.random((40, 2)), np.full(2, 0.5))
    samples = resample_scores(labels, {"a": model, "b": model}, resamples=50)
    for metric in METRICS:
        low, high = interval(samples["a"][metric] - samples["b"][metric])
        assert low.tolist() == high.tolist() == [0.0, 0.0]


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (300, 1))
    signal = labels + rng.normal(0, 1.0, labels.shape)
    first = ThresholdedProbabilities(signal, np.full(1, 0.5))
    second = ThresholdedProbabilities(signal + rng.normal(0, 0.1, labels.shape), np.full(1, 0.5))
    samples = resample_scores(labels, {"a": first, "b": second}, resamples=500)
    a, b = samples["a"]["roc_auc"], samples["b"]["roc_auc"]
    low, high = interval(a - b)
    paired = (high - low).item()
    low, high = interval(a - np.roll(b, 1, axis=0))  # other images for either model
    assert paired < 0.4 * (high - low).item()


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_the_truth(clustered):
    """Of 95% intervals for an accuracy of 0.8, about 95% contain 0.8."""
    rng = np.random.default_rng(5)
    covered, covered_naive, trials = 0, 0, 300
    identities = np.arange(240) // 6 if clustered else None
    for trial in range(trials):
        # With clusters a person's six images are all right or all wrong.
        right = rng.random(40 if clustered else 240) < 0.8
        right = np.repeat(right, 6) if clustered else right
        model = ThresholdedProbabilities(right[:, None].astype(float), np.full(1, 0.5))
        labels = np.ones((240, 1), int)

        def covers(identities, model=model, labels=labels, trial=trial):
            scores = resample_scores(
                labels, {"m": model}, resamples=300, seed=trial, identities=identities
            )
            low, high = interval(scores["m"]["accuracy"])
            return low[0] <= 0.8 <= high[0]

        covered += covers(identities)
        covered_naive += covers(None)
    # Percentile intervals over 40 clusters fall a little short; 300 trials scatter by 0.013.
    assert covered / trials >= 0.90
    if clustered:
        assert covered_naive / trials < 0.75  # what resampling single images would claim


def test_an_undefined_attribute_has_no_interval():
    labels = np.array([[1], [1]])
    samples = resample_scores(
        labels, {"m": ThresholdedProbabilities(np.ones((2, 1)), np.ones(1))}, resamples=20
    )
    low, high = interval(samples["m"]["roc_auc"])
    assert np.isnan(low[0]) and np.isnan(high[0])


def test_means_of_image_values_leave_nan_out():
    values = np.array([[1.0, np.nan], [0.5, np.nan], [np.nan, np.nan]])
    samples = resample_means(values, resamples=200)
    assert np.nanmin(samples[:, 0]) == 0.5
    assert np.nanmax(samples[:, 0]) == 1.0
    assert np.isnan(samples[:, 1]).all()


def test_a_test_split_of_2000_images_takes_seconds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (2000, 40))
    model = ThresholdedProbabilities(rng.random((2000, 40)), np.full(40, 0.5))
    start = time.perf_counter()
    resample_scores(labels, {"m": model}, resamples=1000, identities=np.arange(2000) // 4)
    assert time.perf_counter() - start < 20  # measured: well under 1 s on one core


def test_bad_arguments_are_named():
    with pytest.raises(DatasetError, match="identities: expected one for each of 3"):
        next(resampling_weights(3, 1, 0, [1, 2]))
    with pytest.raises(DatasetError, match="at least one image"):
        next(resampling_weights(0, 1))
