import numpy as np
import pytest

from far_keras.errors import DatasetError
from far_keras.evaluation.metrics import (
    BOUNDARY_TOLERANCE,
    boundary_f1,
    group_masks,
    mask_scores,
    outline,
    unpack_regions,
)
from far_keras.schema import REGIONS, AttributeSchema, Group

FRAME = (218, 178)


def rectangle(top, bottom, left, right):
    mask = np.zeros(FRAME, bool)
    mask[top:bottom, left:right] = True
    return mask


def as_probabilities(masks):
    return np.moveaxis(np.asarray(masks, float), 0, -1)


def test_overlaps_by_hand():
    truth = np.stack([rectangle(50, 90, 50, 90), rectangle(0, 0, 0, 0), rectangle(20, 30, 0, 178)])
    answer = np.stack([rectangle(50, 90, 60, 100), rectangle(0, 0, 0, 0), rectangle(0, 0, 0, 0)])
    iou, dice, boundary = mask_scores(truth, as_probabilities(answer))
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


def test_the_boundary_figure_is_symmetrical():
    rng = np.random.default_rng(0)
    first, second = np.kron(rng.random((2, 3, 6, 6)) > 0.5, np.ones((12, 12), bool))
    forth = boundary_f1(first, second)
    np.testing.assert_array_equal(forth, boundary_f1(second, first))
    assert ((forth > 0) & (forth < 1)).all()


def test_the_picture_s_edge_is_no_boundary():
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


def test_pictures_without_a_mask_are_undefined_and_other_sizes_refused():
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
