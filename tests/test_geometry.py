import numpy as np

from far_keras.geometry import box_iou, coverage_weights, suppress_overlaps


def test_box_iou_by_hand():
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [0, 0, 2, 4], [1, 1, 1, 1]]
    np.testing.assert_allclose(box_iou([0, 0, 2, 2], boxes), [1, 1 / 7, 0, 0.5, 0])
    assert box_iou([1, 1, 1, 1], [[1, 1, 1, 1]]) == [0]


def test_overlapping_boxes_of_lower_score_are_dropped():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 9]])
    assert suppress_overlaps(boxes, np.array([0.6, 0.9, 0.5, 0.7]), 0.5) == [1, 2]
    assert suppress_overlaps(boxes, np.array([0.6, 0.9, 0.5, 0.7]), 1.0) == [1, 3, 0, 2]
    assert suppress_overlaps(np.zeros((0, 4)), np.zeros(0), 0.5) == []


def test_boxes_inside_others_are_dropped_whatever_their_iou():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 4, 4], [8, 0, 12, 4]])  # IoU 0.16 and 0.07
    scores = np.array([0.9, 0.8, 0.7])
    assert suppress_overlaps(boxes, scores, 0.5) == [0, 1, 2]
    assert suppress_overlaps(boxes, scores, 0.5, contained=0.7) == [0, 2]
    assert suppress_overlaps(boxes, scores[::-1], 0.5, contained=0.4) == [2, 1]


def test_coverage_weights_average_areas():
    np.testing.assert_allclose(coverage_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    np.testing.assert_allclose(coverage_weights(2, 4), np.repeat(np.eye(2), 2, axis=0))
    np.testing.assert_allclose(coverage_weights(178, 32).sum(axis=1), 1, rtol=1e-5)
