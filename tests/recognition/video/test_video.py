import json

import numpy as np
import pytest

from far_keras.cli import main
from far_keras.errors import VideoError
from far_keras.recognition.video.answers import answer_video
from far_keras.recognition.video.drawing import draw_frame
from far_keras.recognition.video.job import predict_video
from far_keras.recognition.video.reader import VideoReader

from .conftest import FRAMES, LEFT, RATE, frame, write


def test_persons_are_followed_through_the_video(recognizer, clip):
    results = recognizer(clip)
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


def test_frames_come_one_by_one_with_their_pictures(recognizer, clip):
    with VideoReader(clip) as video:
        first = next(answer_video(recognizer, video))
    assert video.frames <= 9  # not the whole video
    assert np.abs(first.image.astype(int) - frame(0)).mean() < 6  # JPEG
    assert first.result.ok


def test_the_copy_the_table_and_what_is_said(recognizer, clip, tmp_path):
    copy, table = tmp_path / "copy.avi", tmp_path / "rows.jsonl"
    summary = predict_video(recognizer, clip, copy, table, progress=False)
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
    with VideoReader(clip) as video:
        answered = list(answer_video(recognizer, video))[-1]
    (face,) = answered.result.faces
    left, top, _, bottom = face.box * scale
    line = frames[-1][int(top) + 8 : int(bottom) - 8, int(left) : int(left) + 2].astype(float)
    red, green, _ = line.mean(axis=(0, 1))
    assert green - red > 40  # the box, after JPEG; skin has more red than green


def test_a_video_without_faces_is_answered_and_says_so(recognizer, tmp_path):
    path = write(tmp_path / "nobody.avi", [np.full((120, 160, 3), 90, np.uint8)] * 5)
    summary = predict_video(recognizer, path, tmp_path / "copy.mp4", progress=False)
    assert (summary.frames, summary.with_faces, summary.tracks) == (5, 0, 0)
    assert "no face was found in any frame" in str(summary)
    assert (tmp_path / "copy.mp4").exists()


def test_a_video_cut_off_is_answered_as_far_as_it_goes(recognizer, clip, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 3])
    summary = predict_video(recognizer, cut, out=tmp_path / "rows.csv", progress=False)
    assert 3 < summary.frames < 12 and summary.missing == FRAMES - summary.frames
    assert f"{summary.missing} more frames could not be read" in str(summary)


def test_what_is_wrong_is_said_before_the_video_is_answered(recognizer, clip, tmp_path):
    with pytest.raises(VideoError, match=r"copy\.gif"):
        predict_video(recognizer, clip, tmp_path / "copy.gif")
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        recognizer(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        predict_video(recognizer, tmp_path / "text.mp4", tmp_path / "copy.mp4", progress=False)
    assert not (tmp_path / "copy.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clip.mp4"], "say what to make of the video"),
        (["clip.mp4", "other.mp4", "--video", "x.mp4"], "a video is answered by itself"),
        (["clip.mp4", "--video", "x.mp4", "--workers", "2"], "a video is answered by itself"),
        (["photo.jpg", "--video", "x.mp4"], "expected one video to annotate"),
    ],
)
def test_impossible_commands_are_refused_at_once(arguments, message, capsys):
    assert main(["predict", *arguments, "--model", "none"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("count", [0, 1, 2, 5, 30])
def test_all_frames_of_a_size_are_drawn_in_one_size(recognizer, clip, count):
    from dataclasses import replace

    face = recognizer(clip)[0].faces[0] if count else None
    faces = [replace(face, track=number) for number in range(1, count + 1)]
    drawn = draw_frame(frame(0), faces)
    assert drawn.shape == draw_frame(frame(1), []).shape
    if count:
        assert (drawn[:, 725:] == (0, 230, 160)).all(axis=-1).sum() > 200  # a card's badge
