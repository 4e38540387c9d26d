from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from far_keras.recognition.drawing import draw_faces, draw_frame, group_colors, overlay_masks
from far_keras.recognition.results import FaceResult
from far_keras.schema import CELEBA

BOX = (0, 230, 160)
GREY = np.full((218, 178, 3), 128, np.uint8)


def photograph(width, height):
    ys, xs = np.mgrid[:height, :width]
    return np.stack([xs % 90, ys % 90, (xs + ys) % 90], axis=-1).astype(np.uint8)


def face(box, yes=10, groups=CELEBA.group_names):
    """A face whose masks fill the whole aligned frame, which is fitted to the box."""
    left, top, right, bottom = box
    matrix = np.array([[178 / (right - left), 0, 0], [0, 218 / (bottom - top), 0]])
    matrix[:, 2] = -matrix[:, :2] @ [left, top]
    names = CELEBA.attributes
    masks = np.zeros((len(groups), 32, 32), np.float32)
    masks[0, 20:26, 12:20] = 1
    return FaceResult(
        box=np.array(box, float),
        confidence=0.9,
        landmarks=np.zeros((478, 2), np.float32),
        probabilities={name: k / 40 for k, name in enumerate(names)},
        thresholds=dict.fromkeys(names, 0.5),
        decisions={name: k >= 40 - yes for k, name in enumerate(names)},
        masks=masks,
        groups=groups,
        group_of={name: CELEBA.group_of(name).name for name in names},
        matrix=matrix,
        aligned=np.zeros((218, 178, 3), np.uint8),
    )


def color_count(image, color):
    return int((image == color).all(axis=-1).sum())


@pytest.mark.parametrize("size", [(900, 800), (1600, 500), (500, 1600), (3000, 2000)])
def test_the_photograph_stays_as_it_is_outside_boxes_and_masks(size):
    image = photograph(*size)
    result = draw_faces(image, [face((100, 200, 300, 440))])
    kept = result[: size[1], : size[0]]
    differs = (kept != image).any(axis=-1)
    assert differs[200:440, 100:300].any()
    # The badge stands above the box; its size follows the text's.
    unit = max(13, max(size) / 58)
    margin = int(2 * unit)
    differs[max(0, 200 - margin) : 440 + margin, max(0, 100 - margin) : 300 + margin] = False
    assert not differs.any()


def test_masks_can_be_left_out():
    image = photograph(900, 900)
    drawn = draw_faces(image, [face((300, 300, 600, 700))], masks=False)
    np.testing.assert_array_equal(drawn[450:600, 400:550], image[450:600, 400:550])


def test_a_small_image_is_enlarged_and_its_box_follows():
    result = draw_faces(photograph(180, 200), [face((45, 50, 135, 150))], masks=False)
    found = (result[:720, :648] == BOX).all(axis=-1)
    rows, columns = np.flatnonzero(found.sum(axis=1) > 200), np.flatnonzero(found.sum(axis=0) > 200)
    # 720 / 200 = 3.6 times as large; a line is two pixels wide.
    assert np.abs(rows.min() - 50 * 3.6) <= 2 and np.abs(rows.max() - 150 * 3.6) <= 2
    assert np.abs(columns.min() - 45 * 3.6) <= 2 and np.abs(columns.max() - 135 * 3.6) <= 2


@pytest.mark.parametrize("count", [2, 7, 25])
def test_every_face_has_a_box_and_a_card(count):
    boxes = [(40 + 110 * (k % 9), 40 + 150 * (k // 9)) for k in range(count)]
    faces = [face((x, y, x + 80, y + 100)) for x, y in boxes]
    image = photograph(1100, 700)
    result = draw_faces(image, faces)
    for x, y in boxes:
        assert (result[y + 30, x] == BOX).all()
    outside = result.copy()
    outside[:700, :1100] = 0
    # One badge of the box's colour on every card, about 1.5 x 1.4 text heights of 19 pixels.
    assert color_count(outside, BOX) > count * 400
    card = (38, 41, 47)
    empty = draw_faces(image, [face((40, 40, 120, 140), yes=0)])
    assert color_count(outside, card) > 0.8 * count * color_count(empty, card)


def test_a_face_at_the_border_and_one_beyond_it_are_no_error():
    faces = [face((-50, -40, 90, 120)), face((850, 850, 1000, 1100)), face((2000, 0, 2100, 100))]
    assert draw_faces(photograph(900, 900), faces).shape[0] >= 900


def test_an_image_without_faces_says_so():
    image = photograph(800, 600)
    result = draw_faces(image, [])
    np.testing.assert_array_equal(result[:600, :800], image)
    assert result.size > image.size


def test_a_schema_with_more_groups_and_long_names_is_drawn():
    groups = tuple(f"A very long name of group {k}" for k in range(11))
    result = draw_faces(photograph(900, 900), [face((300, 300, 600, 700), groups=groups)])
    for color in group_colors(11):
        assert color_count(result, color) > 50


def test_a_single_face_lists_more_attributes_than_each_of_many():
    image = photograph(900, 900)
    one = face((300, 300, 600, 700), yes=30)
    single, many = (draw_faces(image, [one] * count, masks=False) for count in (1, 5))
    card = (38, 41, 47)
    assert color_count(single, card) > 1.5 * color_count(many, card) / 5


def test_a_face_without_masks_is_drawn():
    plain = face((300, 300, 600, 700))
    plain = FaceResult(**{**vars(plain), "masks": None, "groups": ()})
    result = draw_faces(photograph(900, 900), [plain])
    assert Image.fromarray(result).size[1] >= 900


def test_the_card_of_a_child_says_why_nothing_is_decided():
    child = replace(face((300, 300, 600, 700), yes=0), childlike=0.7)
    plain, refused = (
        draw_faces(photograph(900, 900), [who], masks=False)
        for who in (replace(child, childlike=0.3), child)
    )
    assert plain.shape == refused.shape
    differs = (plain != refused).any(axis=-1)
    assert differs.any() and not differs[:900, :900].any()


def test_lines_of_a_card_do_not_overlap():
    """The line of groups that are not visible is below the reason; empty rows separate them."""
    child = replace(face((300, 300, 600, 700), yes=0), childlike=0.7)
    plain, hidden = (
        draw_faces(photograph(900, 900), [who], masks=False)
        for who in (child, replace(child, not_visible=("Ear",)))
    )
    ink = [
        ((drawn != (38, 41, 47)).any(axis=-1) & (drawn != 0).any(axis=-1))[909:, 20:240]
        for drawn in (plain, hidden)
    ]
    lines = [int((np.diff(rows.any(axis=1).astype(int)) == 1).sum()) for rows in ink]
    assert lines[1] == lines[0] + 1


@pytest.mark.parametrize("count", [0, 1, 2, 5, 30])
def test_all_frames_of_one_size_are_drawn_in_one_size(count):
    faces = [replace(face((20, 60, 120, 180)), track=number) for number in range(1, count + 1)]
    drawn = draw_frame(photograph(480, 240), faces)
    assert drawn.shape == draw_frame(photograph(480, 240)[::-1], []).shape
    if count:
        assert color_count(drawn[:, 725:], BOX) > 200  # the badge of a card


# Masks over an image


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


def test_an_image_of_the_aligned_face_may_have_any_size():
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
def test_a_face_outside_the_image_changes_nothing(offset):
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    np.testing.assert_array_equal(overlay_masks(GREY, square_mask(), matrix), GREY)


def test_the_input_is_not_changed():
    image = GREY.copy()
    overlay_masks(image, square_mask())
    np.testing.assert_array_equal(image, GREY)


def test_colors_are_distinct_for_any_number_of_groups():
    for count in (1, 8, 13):
        colors = np.array(group_colors(count), float)
        assert len(colors) == count
        apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(count)
        assert apart.min() > 30
