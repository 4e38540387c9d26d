import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.evaluation.metrics import (
    METRICS,
    attribute_scores,
    majority_baseline,
    mask_iou,
    mean_over_attributes,
    prevalence,
)

# Counting whole images and dividing once: nothing but the last bit may differ.
EXACT = {"rtol": 0, "atol": 1e-12}


def brute_force(labels, probabilities, threshold):
    """One attribute, image by image and pair by pair."""
    known = [(y, p) for y, p in zip(labels, probabilities, strict=True) if y != -1]
    yes, no = [p for y, p in known if y == 1], [p for y, p in known if y == 0]
    tp, fp = sum(p >= threshold for p in yes), sum(p >= threshold for p in no)
    pairs = [(p > q) + 0.5 * (p == q) for p in yes for q in no]
    nan = float("nan")
    both = bool(yes and no)
    return {
        "accuracy": (tp + len(no) - fp) / len(known) if known else nan,
        "balanced_accuracy": (tp / len(yes) + (len(no) - fp) / len(no)) / 2 if both else nan,
        "roc_auc": sum(pairs) / len(pairs) if pairs else nan,
        "f1": 2 * tp / (2 * tp + fp + len(yes) - tp) if yes else nan,
    }


def random_case(seed, count=60, attributes=7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 2, (count, attributes))
    labels[:, 0] = np.where(labels[:, 0] == 1, 0, labels[:, 0])  # no "yes"
    labels[:, 1] = np.where(labels[:, 1] == 0, 1, labels[:, 1])  # no "no"
    labels[:, 2] = -1
    probabilities = np.round(rng.random((count, attributes)), 1)  # many ties
    return labels, probabilities, rng.random(attributes)


def test_hand_computed_scores():
    #                  yes  yes  no   no   missing
    labels = np.array([[1], [1], [0], [0], [-1]])
    probabilities = np.array([[0.9], [0.4], [0.4], [0.1], [0.99]])
    scores = attribute_scores(labels, probabilities, 0.5)
    assert scores["accuracy"][0] == 0.75
    assert scores["balanced_accuracy"][0] == 0.75  # (1/2 + 2/2) / 2
    assert scores["roc_auc"][0] == 0.875  # 3 of 4 pairs won, one tied
    assert scores["f1"][0] == pytest.approx(2 / 3, abs=1e-12)


def test_a_probability_equal_to_the_threshold_is_a_yes():
    scores = attribute_scores([[1], [0]], [[0.5], [0.25]], [0.5])
    assert scores["accuracy"][0] == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_counting_pairs(seed):
    labels, probabilities, thresholds = random_case(seed)
    scores = attribute_scores(labels, probabilities, thresholds)
    for a in range(labels.shape[1]):
        expected = brute_force(labels[:, a], probabilities[:, a], thresholds[a])
        for metric in METRICS:
            np.testing.assert_allclose(scores[metric][a], expected[metric], **EXACT)


def test_weights_count_a_picture_as_often_as_copies_do():
    labels, probabilities, thresholds = random_case(7)
    weights = np.random.default_rng(1).integers(0, 4, (len(labels), 3))
    scores = attribute_scores(labels, probabilities, thresholds, weights)
    for r in range(3):
        copies = np.repeat(np.arange(len(labels)), weights[:, r])
        expected = attribute_scores(labels[copies], probabilities[copies], thresholds)
        for metric in METRICS:
            np.testing.assert_allclose(scores[metric][r], expected[metric], **EXACT)


def test_auc_and_balanced_accuracy_of_a_constant_answer_are_one_half():
    labels = np.array([[1], [0], [0], [0]])
    scores = attribute_scores(labels, np.zeros((4, 1)), 0.5)
    assert scores["roc_auc"][0] == 0.5
    assert scores["balanced_accuracy"][0] == 0.5
    assert scores["accuracy"][0] == 0.75


def test_undefined_attributes_are_left_out_of_the_mean():
    labels = np.array([[1, 1, -1], [0, 1, -1]])
    scores = attribute_scores(labels, np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]]))
    np.testing.assert_array_equal(scores["roc_auc"], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(scores["accuracy"], [1.0, 0.5, np.nan])
    assert mean_over_attributes(scores["roc_auc"]) == 1.0
    assert mean_over_attributes(scores["accuracy"]) == 0.75
    assert np.isnan(mean_over_attributes([np.nan, np.nan]))


def test_prevalence_counts_known_labels():
    share, known = prevalence(np.array([[1, -1], [0, -1], [0, -1], [-1, -1]]))
    assert share[0] == pytest.approx(1 / 3, abs=1e-12)
    assert np.isnan(share[1])
    assert known.tolist() == [3, 0]


def test_majority_baseline_follows_the_known_training_labels():
    train = np.array(
        [[1, 0, 1, -1], [1, 0, 0, -1], [-1, -1, -1, -1], [0, 1, -1, -1], [1, 0, -1, -1]]
    )
    assert majority_baseline(train).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_mask_iou_by_hand():
    masks = np.zeros((4, 2, 2, 2))
    masks[0, ..., 0] = [[1, 1], [0, 0]]
    masks[1] = -1
    masks[2, ..., 0] = 1
    predicted = np.zeros_like(masks)
    predicted[0, ..., 0] = [[0.9, 0.4], [0.5, 0]]
    predicted[2, ..., 1] = 1.0
    predicted[3] = 1.0
    iou = mask_iou(masks, predicted)
    np.testing.assert_allclose(iou[0], [1 / 3, np.nan], **EXACT)  # both empty: undefined
    np.testing.assert_array_equal(iou[1], [np.nan, np.nan])  # no masks given
    np.testing.assert_array_equal(iou[2], [0.0, 0.0])
    np.testing.assert_array_equal(iou[3], [np.nan, np.nan])  # an image without a face


def test_bad_arguments_are_named():
    good = np.array([[1], [0]])
    with pytest.raises(DatasetError, match=r"labels and probabilities.*Received: \(2, 1\)"):
        attribute_scores(good, np.zeros((2, 2)))
    with pytest.raises(DatasetError, match=r"expected 1, 0 or -1.*Received: \[2\]"):
        attribute_scores(good + 1, np.zeros((2, 1)))
    with pytest.raises(DatasetError, match="1 of 2 are NaN"):
        attribute_scores(good, np.array([[np.nan], [0.5]]))
    with pytest.raises(DatasetError, match="weights"):
        attribute_scores(good, np.zeros((2, 1)), 0.5, np.ones((3, 5)))
    with pytest.raises(DatasetError, match="masks and predicted"):
        mask_iou(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 2)))
