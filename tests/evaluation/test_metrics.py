import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.evaluation.metrics import (
    BOUNDARY_TOLERANCE,
    METRICS,
    attribute_scores,
    boundary_f1,
    brier_score,
    calibration_metrics,
    expected_calibration_error,
    group_masks,
    majority_baseline,
    mask_iou,
    mask_scores,
    mean_over_attributes,
    outline,
    prevalence,
    unpack_regions,
)
from far_keras.schema import REGIONS, AttributeSchema, Group

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


def test_weights_count_an_image_like_copies_of_it():
    labels, probabilities, thresholds = random_case(7)
    weights = np.random.default_rng(1).integers(0, 4, (len(labels), 3))
    scores = attribute_scores(labels, probabilities, thresholds, weights)
    for r in range(3):
        copies = np.repeat(np.arange(len(labels)), weights[:, r])
        expected = attribute_scores(labels[copies], probabilities[copies], thresholds)
        for metric in METRICS:
            np.testing.assert_allclose(scores[metric][r], expected[metric], **EXACT)


def test_auc_and_balanced_accuracy_of_a_constant_prediction_are_one_half():
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


def test_calibration_metrics_are_means_over_attributes_with_both_labels():
    one_class = np.zeros((4, 1), int)
    labels = np.hstack([LABELS, one_class])
    predicted = np.hstack([PROBABILITIES, one_class + 0.9])
    metrics = calibration_metrics(labels, predicted, np.full_like(predicted, 0.5))
    assert metrics["brier_score"] == 0.25
    np.testing.assert_allclose(
        metrics["brier_score_uncalibrated"], np.nanmean(brier_score(LABELS, PROBABILITIES))
    )
    assert metrics["expected_calibration_error"] == (0 + 1 / 6) / 2


FRAME = (218, 178)


def rectangle(top, bottom, left, right):
    mask = np.zeros(FRAME, bool)
    mask[top:bottom, left:right] = True
    return mask


def as_probabilities(masks):
    return np.moveaxis(np.asarray(masks, float), 0, -1)


def test_overlaps_by_hand():
    truth = np.stack([rectangle(50, 90, 50, 90), rectangle(0, 0, 0, 0), rectangle(20, 30, 0, 178)])
    predicted = np.stack([rectangle(50, 90, 60, 100), rectangle(0, 0, 0, 0), rectangle(0, 0, 0, 0)])
    iou, dice, boundary = mask_scores(truth, as_probabilities(predicted))
    np.testing.assert_allclose(iou, [30 / 50, np.nan, 0], rtol=1e-12)
    np.testing.assert_allclose(dice, [60 / 80, np.nan, 0], rtol=1e-12)
    assert np.isnan(boundary[1]) and boundary[2] == 0
    # Dice and IoU are functions of one another.
    np.testing.assert_allclose(dice[0], 2 * iou[0] / (1 + iou[0]), rtol=1e-12)


@pytest.mark.parametrize("shift", [0, 1, BOUNDARY_TOLERANCE, BOUNDARY_TOLERANCE + 1, 10])
def test_the_boundary_agrees_within_its_tolerance_and_no_further(shift):
    truth = rectangle(50, 90, 50, 90)[None]
    found = boundary_f1(truth, rectangle(50, 90, 50 + shift, 90 + shift)[None])[0]
    if shift <= BOUNDARY_TOLERANCE:
        assert found == 1
    else:
        # Pixel by pixel: the distance of each outline's pixels to the other outline.
        a, b = (
            np.argwhere(outline(mask))
            for mask in (truth[0], rectangle(50, 90, 50 + shift, 90 + shift))
        )
        far = np.linalg.norm(a[:, None] - b[None], axis=-1)
        recall = (far.min(axis=1) <= BOUNDARY_TOLERANCE).mean()
        precision = (far.min(axis=0) <= BOUNDARY_TOLERANCE).mean()
        assert found == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)
        assert 0 < found < 1


def test_the_boundary_f1_is_symmetrical():
    rng = np.random.default_rng(0)
    first, second = np.kron(rng.random((2, 3, 6, 6)) > 0.5, np.ones((12, 12), bool))
    forth = boundary_f1(first, second)
    np.testing.assert_array_equal(forth, boundary_f1(second, first))
    assert ((forth > 0) & (forth < 1)).all()


def test_the_edge_of_the_image_is_no_boundary():
    assert not outline(np.ones((5, 5), bool)).any()
    line = outline(rectangle(0, 10, 0, 178))
    assert np.argwhere(line)[:, 0].tolist() == [9] * 178
    assert np.isnan(boundary_f1(np.ones((1, 9, 9), bool), np.ones((1, 9, 9), bool)))[0]


def test_masks_of_any_size_are_scored_in_the_frame():
    truth = rectangle(0, 109, 0, 178)[None]
    for size in (8, 32, 227):
        half = np.zeros((size, size, 1))
        half[: size // 2] = 1.0
        half[size // 2 : -(size // 2)] = 0.5  # the middle row of an odd size
        iou, dice, boundary = mask_scores(truth, half)
        assert iou[0] > 0.98 and dice[0] > 0.99 and boundary[0] == 1


def test_images_without_masks_are_undefined_and_other_sizes_refused():
    empty = np.zeros((2, *FRAME), bool)
    assert np.isnan(mask_scores(empty, np.ones((8, 8, 2)))).all()  # there is no face
    with pytest.raises(DatasetError, match=r"\(2, 218, 178\).*Received: \(2, 178, 218\)"):
        mask_scores(empty.transpose(0, 2, 1), np.ones((8, 8, 2)))
    with pytest.raises(DatasetError, match=r"expected \(3, 218, 178\)"):
        mask_scores(empty, np.ones((8, 8, 3)))


def test_a_group_s_mask_is_the_union_of_its_regions():
    regions = np.zeros((*FRAME, 8), bool)
    regions[0, 0, REGIONS.index("mouth")] = regions[1, 1, REGIONS.index("hair")] = True
    schema = AttributeSchema(
        "two",
        ("A", "B"),
        (Group("Both", ("A",), ("hair", "mouth")), Group("Nose", ("B",), ("nose",))),
    )
    both, nose = group_masks(regions, schema)
    assert np.argwhere(both).tolist() == [[0, 0], [1, 1]] and not nose.any()
    assert unpack_regions(b"") is None
