import numpy as np
import pytest

from far_keras.recognition.overlay import group_colors, mask_sheet, overlay_masks
from far_keras.schema import CELEBA

GREY = np.full((218, 178, 3), 128, np.uint8)


def square_mask(size=(218, 178)):
    """Ones where 50 <= x < 90 and 100 <= y < 160 of the aligned face, at another resolution."""
    height, width = size
    y = (np.arange(height) + 0.5) * 218 / height
    x = (np.arange(width) + 0.5) * 178 / width
    inside = ((y > 100) & (y < 160))[:, None] & ((x > 50) & (x < 90))[None]
    return inside[None].astype(np.float32)


def changed(before, after):
    ys, xs = np.nonzero((before != after).any(axis=-1))
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def test_a_full_size_mask_tints_its_own_pixels_only():
    result = overlay_masks(GREY, square_mask())
    assert changed(GREY, result) == (50, 100, 90, 160)
    inner = result[130, 70].astype(float)
    # 0.4 of the first colour over 0.6 of the image, rounded to whole levels.
    np.testing.assert_allclose(inner, 0.6 * 128 + 0.4 * np.array(group_colors(1)[0]), atol=0.5)


def test_a_coarse_mask_lies_where_the_fine_one_does():
    # 89 x 109 cells of 2 x 2 pixels; the level of one half is crossed on the cells' border.
    coarse = overlay_masks(GREY, square_mask((109, 89)))
    assert np.abs(np.subtract(changed(GREY, coarse), (50, 100, 90, 160))).max() <= 1


def test_a_picture_of_the_aligned_face_may_have_any_size():
    large = np.full((436, 356, 3), 128, np.uint8)
    assert np.abs(np.subtract(changed(large, overlay_masks(large, square_mask())),
                              (100, 200, 180, 320))).max() <= 1  # fmt: skip


def test_the_matrix_places_the_mask_in_the_photograph():
    photograph = np.full((600, 800, 3), 128, np.uint8)
    angle, scale = np.deg2rad(30), 0.5
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, [20.0, -40.0]])
    result = overlay_masks(photograph, square_mask(), matrix)
    ys, xs = np.nonzero((photograph != result).any(axis=-1))
    # The square's centre is pixel (69.5, 129.5) of the aligned face, its area 40 x 60 / scale^2.
    expected = np.linalg.solve(turn, np.array([69.5, 129.5]) - matrix[:, 2])
    np.testing.assert_allclose([xs.mean(), ys.mean()], expected, atol=0.3)
    assert xs.size == pytest.approx(40 * 60 / scale**2, rel=0.02)


def test_a_smaller_mask_shows_on_a_larger_one_and_the_whole_head_is_an_outline():
    head = np.zeros((218, 178), np.float32)
    head[20:200, 20:160] = 1
    jaw, mouth = np.zeros_like(head), np.zeros_like(head)
    jaw[120:180, 40:140] = 1
    mouth[140:160, 60:110] = 1
    result = overlay_masks(GREY, np.stack([mouth, jaw, head]))
    colors = np.array(group_colors(3), float)
    np.testing.assert_allclose(result[150, 80], 0.6 * 128 + 0.4 * colors[0], atol=0.5)
    np.testing.assert_allclose(result[130, 50], 0.6 * 128 + 0.4 * colors[1], atol=0.5)
    np.testing.assert_array_equal(result[60, 80], GREY[60, 80])
    assert (result[20, 80] != 128).any()  # the head's outline


@pytest.mark.parametrize("offset", [(-5000.0, 0.0), (0.0, 5000.0)])
def test_a_face_outside_the_picture_changes_nothing(offset):
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    np.testing.assert_array_equal(overlay_masks(GREY, square_mask(), matrix), GREY)


def test_the_input_is_left_alone():
    image = GREY.copy()
    overlay_masks(image, square_mask())
    np.testing.assert_array_equal(image, GREY)


def test_colors_are_distinct_for_any_number_of_groups():
    for count in (1, 8, 13):
        colors = np.array(group_colors(count), float)
        assert len(colors) == count
        apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(count)
        assert apart.min() > 30


def test_a_sheet_holds_every_picture_and_all_group_names_fit():
    red, blue = GREY.copy(), GREY.copy()
    red[:], blue[:] = (255, 0, 0), (0, 0, 255)
    sheet = mask_sheet([[red, blue], [blue, red], [red, red]], ["one", "two"], CELEBA.group_names)
    assert (sheet == (255, 0, 0)).all(axis=-1).sum() == 4 * 178 * 218
    assert (sheet == (0, 0, 255)).all(axis=-1).sum() == 2 * 178 * 218
    for color in group_colors(8):
        assert (sheet == color).all(axis=-1).sum() > 50
