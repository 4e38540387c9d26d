import numpy as np
import pytest
import tensorflow as tf

from far_keras.datasets.region_swap import swap_regions
from far_keras.schema import CELEBA, MISSING, AttributeSchema

GROUP_OF = np.array([CELEBA.groups.index(CELEBA.group_of(name)) for name in CELEBA.attributes])
WHOLE = CELEBA.group_names.index("Object") == GROUP_OF


@pytest.fixture
def batch():
    """64 images of one grey each, with the group regions side by side as eight stripes."""
    rng = np.random.default_rng(0)
    grey = rng.uniform(0, 255, (64, 1, 1, 1)).astype("float32")
    images = np.broadcast_to(grey, (64, 64, 64, 3)).copy()
    masks = np.zeros((64, 16, 16, 8), "float32")
    for group in range(8):
        masks[:, :, 2 * group : 2 * group + 2, group] = 1.0
    labels = rng.integers(0, 2, (64, 40)).astype("float32")
    return images, masks, labels


def swap(images, masks, labels, probability=1.0, seed=(1, 2), schema=CELEBA):
    arguments = [tf.constant(part) for part in (images, masks, labels, seed)]
    return [np.array(part) for part in swap_regions(*arguments, schema, probability)]


def test_pixels_and_labels_of_a_group_come_from_one_picture(batch):
    images, masks, labels = batch
    mixed, _, answers = swap(images, masks, labels)
    neighbours = np.roll(images, 1, 0)
    swapped = 0
    for row in range(64):
        for group in range(7):  # the last is the whole face
            here = mixed[row, :, 8 * group + 4, 0]  # the middle of the group's stripe
            own, foreign = (
                np.isclose(here, p[row, 0, 0, 0], atol=0.01).all() for p in (images, neighbours)
            )
            assert own or foreign
            source = labels[row] if own else labels[row - 1]
            np.testing.assert_array_equal(
                answers[row, group == GROUP_OF], source[group == GROUP_OF]
            )
            swapped += foreign
    assert 0.4 < swapped / (64 * 7) < 0.6


def test_what_the_whole_face_decides_is_not_answered_by_a_mixed_one(batch):
    images, masks, labels = batch
    mixed, _, answers = swap(images, masks, labels, probability=0.5)
    changed = (mixed != images).any(axis=(1, 2, 3))
    assert 0.3 < changed.mean() < 0.7
    assert (answers[changed][:, WHOLE] == MISSING).all()
    np.testing.assert_array_equal(answers[~changed], labels[~changed])


def test_it_breaks_the_tie_between_attributes_of_two_regions(batch):
    images, masks, labels = batch
    smiling, wavy = (CELEBA.attributes.index(name) for name in ("Smiling", "Wavy_Hair"))
    labels[:, smiling] = labels[:, wavy]
    *_, answers = swap(images, masks, labels)
    # One of the two is foreign in half of the images, and differs in half of those.
    assert 0.6 < (answers[:, smiling] == answers[:, wavy]).mean() < 0.9


def test_the_masks_move_with_the_regions(batch):
    images, masks, labels = batch
    masks[::2] = np.roll(masks[::2], 2, axis=2)  # every other face is turned
    mixed, moved, _ = swap(images, masks, labels)
    for row in range(64):
        for group in range(7):
            own, foreign = masks[row, ..., group], masks[row - 1, ..., group]
            assert any(np.array_equal(moved[row, ..., group], m) for m in (own, foreign))
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert mixed.min() >= 0
    assert mixed.max() <= 255


def test_pictures_without_face_or_masks_are_left_alone(batch):
    images, masks, labels = batch
    masks[10] = float(MISSING)
    masks[20] = 0.0
    mixed, moved, answers = swap(images, masks, labels)
    for row in (10, 11, 20, 21):  # itself, and the one whose neighbour it is
        np.testing.assert_array_equal(mixed[row], images[row])
        np.testing.assert_array_equal(moved[row], masks[row])
        np.testing.assert_array_equal(answers[row], labels[row])


def test_probability_0_changes_nothing_and_the_seed_decides(batch):
    for got, given in zip(swap(*batch, probability=0.0), batch, strict=True):
        np.testing.assert_array_equal(got, given)
    first, again, other = swap(*batch), swap(*batch), swap(*batch, seed=(3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()


def test_a_schema_whose_only_group_is_the_whole_face_has_nothing_to_swap(batch):
    images, masks, labels = batch
    data = {
        "name": "one",
        "attributes": ["Male"],
        "groups": [{"name": "All", "attributes": ["Male"], "regions": ["object"]}],
    }
    schema = AttributeSchema.from_dict(data, "one")
    mixed, _, answers = swap(images, masks[..., :1], labels[:, :1], schema=schema)
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(answers, labels[:, :1])
