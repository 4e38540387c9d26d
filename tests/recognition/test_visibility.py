import numpy as np
import pytest

from far_keras.recognition.answering import FaceAnswerer
from far_keras.recognition.engines.opening import open_engine
from far_keras.recognition.visibility import TOLD_UNSEEN, unseen_groups
from far_keras.schema import CELEBA


def masks_with(cells, size=32):
    """One mask a number of cells, so many of which are just inside."""
    masks = np.full((size, size, len(cells)), 0.49, np.float32)
    for group, count in enumerate(cells):
        masks.reshape(-1, len(cells))[:count, group] = 0.5
    return masks


class SeesOnly:
    """A model's engine whose masks are full for some groups and empty for the others."""

    def __init__(self, model, groups):
        self.engine = open_engine(model)
        self.description = self.engine.description
        self.seen = [CELEBA.group_names.index(name) for name in groups]

    def __call__(self, images):
        answers = self.engine(images)
        answers.masks[...] = 0
        answers.masks[..., self.seen] = 1
        return answers


def test_a_mask_of_fewer_than_three_cells_of_32_by_32_is_empty():
    groups = ("none", "two", "three", "all")
    assert unseen_groups(masks_with([0, 2, 3, 1024]), groups) == ("none", "two")


def test_the_rule_follows_the_area_not_the_resolution():
    assert unseen_groups(masks_with([10], size=64), ("Ear",)) == ("Ear",)
    assert unseen_groups(masks_with([11], size=64), ("Ear",)) == ()
    assert unseen_groups(masks_with([1], size=16), ("Ear",)) == ()


@pytest.mark.parametrize("seen", [None, "Nose"])
def test_what_is_told_by_absence_is_decided_where_there_is_somebody(celeba_model, found_face, seen):
    """The untrained network's masks are replaced by ones that are empty, but for one perhaps."""
    seen_groups = () if seen is None else (seen,)
    (face,) = FaceAnswerer(SeesOnly(celeba_model, seen_groups), sensitive=True).answer([found_face])
    assert face.not_visible == tuple(name for name in CELEBA.group_names if name != seen)
    decided = {name for name, decision in face.decisions.items() if decision is not None}
    of_nose = {name for name in face.decisions if face.group_of[name] == "Nose"}
    assert decided == (set() if seen is None else of_nose | TOLD_UNSEEN)
    assert set(face.probabilities) == {*CELEBA.attributes} - {"Attractive"}  # never taught


def test_nothing_is_decided_about_a_child_unless_children_are_answered(
    celeba_model, child, found_face
):
    engine = open_engine(celeba_model)
    (grown_up,) = FaceAnswerer(engine, sensitive=True).answer([found_face])
    assert 0 <= grown_up.childlike < 0.5 and not grown_up.is_child
    assert None not in {grown_up.decisions[name] for name in TOLD_UNSEEN}

    (refused,) = FaceAnswerer(engine, sensitive=True).answer([child])
    assert refused.childlike > 0.5 and refused.is_child
    assert set(refused.decisions.values()) == {None}
    assert refused.probabilities == grown_up.probabilities  # the image is the same
    assert refused.to_dict()["childlike"] == round(refused.childlike, 4)

    (answered,) = FaceAnswerer(engine, sensitive=True, children=True).answer([child])
    assert answered.childlike is None and not answered.is_child
    assert answered.decisions == grown_up.decisions
    assert "childlike" not in answered.to_dict()


def test_proportions_are_not_judged_where_the_mouth_is_not_visible(celeba_model, child):
    seen = [name for name in CELEBA.group_names if name != "Mouth"]
    (face,) = FaceAnswerer(SeesOnly(celeba_model, seen), sensitive=True).answer([child])
    assert face.not_visible == ("Mouth",) and face.childlike is None
    assert face.decisions["Black_Hair"] is not None and face.decisions["Smiling"] is None
