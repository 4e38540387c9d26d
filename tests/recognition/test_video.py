import json

import cv2
import numpy as np
import pytest

from far_keras.cli import main
from far_keras.errors import VideoError
from far_keras.recognition.batch import predict_video
from far_keras.recognition.results import FaceResult
from far_keras.recognition.video import (
    CODECS,
    FaceTracker,
    VideoReader,
    check_video_name,
    open_writer,
    predict_frames,
)

from .conftest import FRAMES, LEFT, RATE, frame, write

TAU = 0.5


# Reading and writing


def shades(count, size=(64, 48)):
    return [np.full((size[1], size[0], 3), 20 + 10 * k, np.uint8) for k in range(count)]


def motion_jpeg(path, images):
    """Frames one after another, each with a size of its own."""
    with path.open("wb") as file:
        for image in images:
            file.write(cv2.imencode(".jpg", image)[1].tobytes())
    return path


@pytest.mark.parametrize("suffix", CODECS)
def test_written_videos_can_be_read(suffix, tmp_path, capfd):
    path = tmp_path / "new" / f"clip{suffix}"
    images = shades(20)
    images[3][:, :32] = (250, 0, 0)
    with open_writer(path, 12.5) as writer:
        for image in images:
            writer.write(image)
    with VideoReader(path) as video:
        frames = list(video)
    assert (video.rate, video.size, video.frames) == (12.5, (64, 48), 20)
    assert video.missing == 0
    for k, read in enumerate(frames):
        # The codecs lose some detail; a frame too early or late would be 10 away.
        assert np.abs(read[:, 40:].mean() - 20 - 10 * k) < 4
    assert frames[3][24, 10, 0] > 180 and frames[3][24, 10, 2] < 80  # red, not blue
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert capfd.readouterr().err == ""


def test_an_interrupted_copy_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "clip.mp4", 25) as writer:
        writer.write(shades(1)[0])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_sides_may_be_odd(tmp_path):
    with open_writer(tmp_path / "clip.mp4", 25) as writer:
        for image in shades(3, (65, 49)):
            writer.write(image)
    with VideoReader(tmp_path / "clip.mp4") as video:
        assert video.size == (64, 48)


def test_a_video_that_changes_its_size_keeps_the_first(tmp_path):
    images = [*shades(3), np.full((24, 64, 3), 200, np.uint8), np.full((96, 128, 3), 90, np.uint8)]
    path = motion_jpeg(tmp_path / "clip.mjpeg", images)
    with VideoReader(path) as video:
        frames = list(video)
    assert [image.shape for image in frames] == [(48, 64, 3)] * 5
    assert abs(frames[3].mean() - 200) < 3 and abs(frames[4].mean() - 90) < 3
    assert video.missing == 0  # the file does not say how many there should be


def test_a_truncated_video_reports_missing_frames(clip, tmp_path):
    content = clip.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: len(content) // 2])
    with VideoReader(cut) as video:
        count = len(list(video))
    assert 5 < count < 20 and video.frames == count
    assert video.missing == 24 - count


def test_unreadable_videos_are_refused(tmp_path, capfd):
    good = tmp_path / "good.mp4"
    with open_writer(good, 25) as writer:
        for image in shades(20):
            writer.write(image)
    cut = tmp_path / "cut.mp4"  # without its index, which is at the end
    cut.write_bytes(good.read_bytes()[:-200])
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    for name in ("cut.mp4", "text.mp4", "empty.mp4"):
        with pytest.raises(VideoError, match=rf"{name}: .*no frame can be read"):
            VideoReader(tmp_path / name)
    with pytest.raises(VideoError, match=r"Received: a folder"):
        VideoReader(tmp_path / "folder.mp4")
    with pytest.raises(VideoError, match=r"none\.mp4.*nothing of that name"):
        VideoReader(tmp_path / "none.mp4")
    assert capfd.readouterr().err == ""


def test_other_suffixes_cannot_be_written(tmp_path):
    with pytest.raises(VideoError, match=r"clip\.gif: expected .*\.mp4, \.avi, \.webm"):
        check_video_name(tmp_path / "clip.gif")
    with pytest.raises(VideoError), open_writer(tmp_path / "clip", 25):
        pass


# Tracking


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


def test_a_person_who_is_away_for_long_or_jumps_gets_a_new_number():
    tracker = FaceTracker(patience=0.75)
    assert [f.track for f in tracker.update([face(0)], 0.0)] == [1]
    assert tracker.update([], 0.4) == []
    assert [f.track for f in tracker.update([face(5)], 0.7)] == [1]
    assert [f.track for f in tracker.update([face(5)], 1.5)] == [2]
    assert [f.track for f in tracker.update([face(300)], 1.54)] == [3]


def test_each_face_takes_the_track_of_highest_iou():
    tracker = FaceTracker()
    tracker.update([face(0), face(60)], 0.0)
    # Both could continue the second track.
    assert [f.track for f in tracker.update([face(30), face(58)], 0.04)] == [1, 2]


def test_predictions_and_boxes_follow_exponentially():
    tracker = FaceTracker(box_tau=0.1, prediction_tau=TAU)
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


def test_one_bad_frame_neither_changes_a_decision_nor_hides_a_group():
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
        (0.0, 1.0, {"Smiling": True, "Bald": True}),  # decided by absence
        (1.0, 0.0, {"Smiling": None, "Bald": True}),
        (0.0, 0.0, {"Smiling": None, "Bald": None}),  # no person
    ],
)
def test_decisions_follow_from_smoothed_masks(hair, mouth, decisions):
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


def test_a_child_is_not_decided_like_an_adult_for_one_frame():
    tracker = FaceTracker(prediction_tau=TAU)
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


# Prediction


def frames_of(recognizer, video):
    return predict_frames(video, recognizer.detector, recognizer.predict_faces, FaceTracker())


def test_persons_are_followed_through_the_video(noise_recognizer, clip):
    results = noise_recognizer(clip)
    assert [result.frame for result in results] == list(range(FRAMES))
    assert results[6].seconds == pytest.approx(6 / RATE)
    assert all(result.file == str(clip) and result.size == (480, 240) for result in results)
    for number, result in enumerate(results):
        first = result.faces[0]
        assert first.track == 1
        # The astronaut's face is 105 to 150 pixels to the right of the cut's left side.
        center = (first.box[0] + first.box[2]) / 2 - LEFT - 2 * number
        assert 90 < center < 120
    second = [result for result in results if len(result.faces) == 2]
    assert len(second) >= FRAMES // 2 - 1
    assert {result.faces[1].track for result in second} == {2}
    assert len(results[-1].faces) == 1


def test_frames_come_one_by_one_with_their_images(noise_recognizer, clip):
    with VideoReader(clip) as video:
        first = next(frames_of(noise_recognizer, video))
    assert video.frames <= 9  # not the whole video
    assert np.abs(first.image.astype(int) - frame(0)).mean() < 6  # JPEG
    assert first.result.ok


def test_the_copy_the_table_and_the_summary(noise_recognizer, clip, tmp_path):
    copy, table = tmp_path / "copy.avi", tmp_path / "rows.jsonl"
    summary = predict_video(noise_recognizer, clip, copy, table, progress=False)
    assert (summary.frames, summary.with_faces, summary.tracks) == (FRAMES, FRAMES, 2)
    assert summary.missing == 0
    assert str(copy) in str(summary) and "2 tracks" in str(summary)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert [row["frame"] for row in rows if row["track"] == 1] == list(range(FRAMES))
    assert rows[0]["seconds"] == 0 and "Smiling" in rows[0] and "Male" not in rows[0]
    with VideoReader(copy) as drawn:
        frames = list(drawn)
    assert len(frames) == FRAMES and drawn.rate == RATE
    scale = 720 / 480  # small frames are enlarged
    assert drawn.size[0] > 720 and abs(drawn.size[1] - 240 * scale) <= 1
    panel = frames[-1][:, 725:]
    assert panel.std() > 10  # a card, not an empty panel
    left, top, bottom = (rows[-1][side] * scale for side in ("left", "top", "bottom"))
    line = frames[-1][int(top) + 8 : int(bottom) - 8, int(left) : int(left) + 2].astype(float)
    red, green, _ = line.mean(axis=(0, 1))
    assert green - red > 40  # the box, after JPEG; skin has more red than green


def test_a_video_without_faces_is_predicted_and_says_so(noise_recognizer, tmp_path):
    path = write(tmp_path / "nobody.avi", [np.full((120, 160, 3), 90, np.uint8)] * 5)
    summary = predict_video(noise_recognizer, path, tmp_path / "copy.mp4", progress=False)
    assert (summary.frames, summary.with_faces, summary.tracks) == (5, 0, 0)
    assert "no face was found in any frame" in str(summary)
    assert (tmp_path / "copy.mp4").exists()


def test_a_truncated_video_is_predicted_as_far_as_it_can_be_read(noise_recognizer, clip, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 3])
    summary = predict_video(noise_recognizer, cut, out=tmp_path / "rows.csv", progress=False)
    assert 3 < summary.frames < 12 and summary.missing == FRAMES - summary.frames
    assert f"{summary.missing} more frames could not be read" in str(summary)


def test_errors_are_raised_before_the_video_is_predicted(noise_recognizer, clip, tmp_path):
    with pytest.raises(VideoError, match=r"copy\.gif"):
        predict_video(noise_recognizer, clip, tmp_path / "copy.gif")
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        noise_recognizer(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        predict_video(
            noise_recognizer, tmp_path / "text.mp4", tmp_path / "copy.mp4", progress=False
        )
    assert not (tmp_path / "copy.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clip.mp4"], "choose what to make of the video"),
        (["clip.mp4", "other.mp4", "--video", "x.mp4"], "videos are predicted one at a time"),
        (["clip.mp4", "--video", "x.mp4", "--workers", "2"], "videos are predicted one at a time"),
        (["photo.jpg", "--video", "x.mp4"], "expected one video to annotate"),
    ],
)
def test_impossible_commands_are_refused_at_once(arguments, message, capsys):
    assert main(["predict", *arguments, "--model", "none"]) == 1
    assert message in capsys.readouterr().err
