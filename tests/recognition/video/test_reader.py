import cv2
import numpy as np
import pytest

from far_keras.errors import VideoError
from far_keras.recognition.video.reader import VideoReader, is_video
from far_keras.recognition.video.writer import CODECS, check_video_name, open_writer


def shades(count, size=(64, 48)):
    return [np.full((size[1], size[0], 3), 20 + 10 * k, np.uint8) for k in range(count)]


def motion_jpeg(path, images):
    """Frames one after another, each with a size of its own."""
    with path.open("wb") as file:
        for image in images:
            file.write(cv2.imencode(".jpg", image)[1].tobytes())
    return path


def test_what_is_called_like_a_video():
    assert is_video("clip.MP4") and is_video("a/b.webm")
    assert not is_video("clip.jpg") and not is_video("mp4")


@pytest.mark.parametrize("suffix", CODECS)
def test_what_is_written_can_be_read(suffix, tmp_path, capfd):
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


def test_a_video_that_ends_too_early_says_how_much_is_missing(clip, tmp_path):
    content = clip.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: len(content) // 2])
    with VideoReader(cut) as video:
        count = len(list(video))
    assert 5 < count < 20 and video.frames == count
    assert video.missing == 24 - count


def test_what_cannot_be_read_at_all_is_refused(tmp_path, capfd):
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


def test_other_endings_cannot_be_written(tmp_path):
    with pytest.raises(VideoError, match=r"clip\.gif: expected .*\.mp4, \.avi, \.webm"):
        check_video_name(tmp_path / "clip.gif")
    with pytest.raises(VideoError), open_writer(tmp_path / "clip", 25):
        pass
