from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from far_keras.recognition.drawing import draw_faces
from far_keras.recognition.overlay import group_colors
from far_keras.recognition.results import FaceResult
from far_keras.schema import CELEBA

BOX = (0, 230, 160)


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


def color_count(picture, color):
    return int((picture == color).all(axis=-1).sum())


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


def test_a_small_picture_is_enlarged_and_its_box_follows():
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


def test_without_faces_the_picture_says_so():
    image = photograph(800, 600)
    result = draw_faces(image, [])
    np.testing.assert_array_equal(result[:600, :800], image)
    assert result.size > image.size


def test_a_schema_with_more_groups_and_long_names_is_drawn():
    groups = tuple(f"A very long name of group {k}" for k in range(11))
    result = draw_faces(photograph(900, 900), [face((300, 300, 600, 700), groups=groups)])
    for color in group_colors(11):
        assert color_count(result, color) > 50


def test_a_card_lists_as_many_attributes_as_asked_for():
    image = photograph(900, 900)
    few = draw_faces(image, [face((300, 300, 600, 700), yes=30)], masks=False, attributes=2)
    many = draw_faces(image, [face((300, 300, 600, 700), yes=30)], masks=False, attributes=20)
    card = (38, 41, 47)
    assert color_count(many, card) > 3 * color_count(few, card)


def test_a_face_without_masks_is_drawn():
    plain = face((300, 300, 600, 700))
    plain = FaceResult(**{**vars(plain), "masks": None, "groups": ()})
    result = draw_faces(photograph(900, 900), [plain])
    assert Image.fromarray(result).size[1] >= 900


def test_the_card_of_a_child_says_why_nothing_is_answered():
    child = replace(face((300, 300, 600, 700), yes=0), childlike=0.7)
    plain, refused = (
        draw_faces(photograph(900, 900), [who], masks=False)
        for who in (replace(child, childlike=0.3), child)
    )
    assert plain.shape == refused.shape
    differs = (plain != refused).any(axis=-1)
    assert differs.any() and not differs[:900, :900].any()


def test_lines_of_a_card_do_not_lie_on_each_other():
    """What is not visible stands below why nothing is listed: the rows between them are empty."""
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
