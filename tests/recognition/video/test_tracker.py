import numpy as np
import pytest

from far_keras.recognition.results import FaceResult
from far_keras.recognition.video.tracker import FaceTracker

TAU = 0.5


def face(x, probability=0.5, hair=1.0, mouth=1.0, size=100, childlike=None):
    return FaceResult(
        box=np.array([x, 50, x + size, 50 + size], float),
        confidence=0.9,
        landmarks=np.zeros((478, 2), np.float32),
        probabilities={"Smiling": probability, "Bald": probability},
        thresholds={"Smiling": 0.6, "Bald": 0.6},
        decisions={"Smiling": probability >= 0.6, "Bald": probability >= 0.6},
        masks=np.stack([np.full((8, 8), value, np.float32) for value in (hair, mouth)]),
        groups=("Hair", "Mouth"),
        group_of={"Smiling": "Mouth", "Bald": "Hair"},
        matrix=np.eye(2, 3),
        aligned=np.zeros((218, 178, 3), np.uint8),
        childlike=childlike,
    )


def test_a_face_keeps_its_number_while_it_moves_and_faces_may_change_order():
    tracker = FaceTracker()
    for step in range(10):
        faces = [face(10 * step), face(400 - 10 * step)]
        numbers = [1, 2]
        if step % 2:
            faces.reverse()
            numbers.reverse()
        assert [f.track for f in tracker.update(faces, step / 25)] == numbers
    assert tracker.count == 2


def test_who_stays_away_for_long_or_jumps_is_someone_new():
    tracker = FaceTracker(patience=0.75)
    assert [f.track for f in tracker.update([face(0)], 0.0)] == [1]
    assert tracker.update([], 0.4) == []
    assert [f.track for f in tracker.update([face(5)], 0.7)] == [1]
    assert [f.track for f in tracker.update([face(5)], 1.5)] == [2]
    assert [f.track for f in tracker.update([face(300)], 1.54)] == [3]


def test_each_face_takes_the_track_that_it_shares_most_with():
    tracker = FaceTracker()
    tracker.update([face(0), face(60)], 0.0)
    # Both could continue the second track.
    assert [f.track for f in tracker.update([face(30), face(58)], 0.04)] == [1, 2]


def test_answers_and_boxes_follow_exponentially():
    tracker = FaceTracker(box_tau=0.1, answer_tau=TAU)
    tracker.update([face(0, 0.0)], 0.0)
    for step in range(1, 30):
        (smooth,) = tracker.update([face(10, 1.0)], step / 25)
        expected = 1 - np.exp(-step / 25 / TAU)
        assert smooth.probabilities["Smiling"] == pytest.approx(expected, abs=1e-9)
        assert smooth.box[0] == pytest.approx(10 * (1 - np.exp(-step / 25 / 0.1)), abs=1e-6)
        assert smooth.decisions["Smiling"] == (expected >= 0.6)


def test_smoothing_does_not_depend_on_the_frame_rate():
    ends = []
    for rate in (10, 50):
        tracker = FaceTracker()
        tracker.update([face(0, 0.0)], 0.0)
        for step in range(1, rate + 1):
            (smooth,) = tracker.update([face(0, 1.0)], step / rate)
        ends.append(smooth.probabilities["Smiling"])
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)


def test_one_bad_frame_neither_turns_a_decision_nor_hides_a_group():
    tracker = FaceTracker()
    for step in range(20):
        tracker.update([face(0, 0.9)], step / 25)
    (smooth,) = tracker.update([face(0, 0.0, mouth=0.0)], 20 / 25)
    assert smooth.decisions["Smiling"] is True and smooth.not_visible == ()
    for step in range(21, 60):
        (smooth,) = tracker.update([face(0, 0.0, mouth=0.0)], step / 25)
    assert smooth.not_visible == ("Mouth",)
    assert smooth.decisions == {"Smiling": None, "Bald": False}


@pytest.mark.parametrize(
    ("hair", "mouth", "decisions"),
    [
        (0.0, 1.0, {"Smiling": True, "Bald": True}),  # told by what is not there
        (1.0, 0.0, {"Smiling": None, "Bald": True}),
        (0.0, 0.0, {"Smiling": None, "Bald": None}),  # nobody there
    ],
)
def test_smoothed_masks_tell_what_can_be_decided(hair, mouth, decisions):
    tracker = FaceTracker()
    for step in range(10):
        (smooth,) = tracker.update([face(0, 0.9, hair, mouth)], step / 25)
    assert smooth.decisions == decisions


def test_a_model_without_masks_is_smoothed():
    tracker = FaceTracker()
    plain = FaceResult(**{**vars(face(0)), "masks": None, "groups": ()})
    tracker.update([plain], 0.0)
    (smooth,) = tracker.update([plain], 0.04)
    assert smooth.masks is None and smooth.track == 1


def test_a_child_is_not_answered_for_one_frame_like_a_grown_up():
    tracker = FaceTracker(answer_tau=TAU)
    tracker.update([face(0, 0.9, childlike=0.9)], 0.0)
    (smooth,) = tracker.update([face(0, 0.9, childlike=0.1)], 0.04)
    assert smooth.childlike == pytest.approx(0.1 + 0.8 * np.exp(-0.04 / TAU))
    assert smooth.is_child and set(smooth.decisions.values()) == {None}
    for step in range(2, 40):
        (smooth,) = tracker.update([face(0, 0.9, childlike=0.1)], step / 25)
    assert smooth.is_child is False and smooth.decisions == {"Smiling": True, "Bald": True}


def test_a_child_stays_one_while_its_mouth_is_hidden():
    tracker = FaceTracker()
    tracker.update([face(0, 0.9, childlike=0.9)], 0.0)
    for step, seen in enumerate((None, None, 0.9), 1):
        mouth = 1.0 if seen else 0.0
        (smooth,) = tracker.update([face(0, 0.9, mouth=mouth, childlike=seen)], step / 25)
        assert smooth.childlike == pytest.approx(0.9) and smooth.is_child is True
        assert set(smooth.decisions.values()) == {None}
