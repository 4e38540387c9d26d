import errno
import fcntl
import signal
import subprocess
import sys

import pytest
from PIL import Image

from far_keras.datasets.annotate import annotate
from far_keras.datasets.opening import open_dataset
from far_keras.errors import DatasetError, ModelError
from far_keras.exclusive import exclusive

HOLDER = """
import sys, time
from far_keras.errors import DatasetError
from far_keras.exclusive import exclusive
with exclusive(sys.argv[1], DatasetError):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_another_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    another = pytest.raises(ModelError, match="another process is at work in this folder")
    with another, exclusive(tmp_path, ModelError):
        pytest.fail("two at once")
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    with exclusive(tmp_path, ModelError):
        pass


def test_it_can_be_had_again_and_leaves_nothing(tmp_path):
    for _ in range(2):
        refused = pytest.raises(DatasetError, match=str(tmp_path))
        with exclusive(tmp_path, DatasetError), refused, exclusive(tmp_path, DatasetError):
            pytest.fail("two at once")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "no locks on this drive")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with exclusive(tmp_path, DatasetError), exclusive(tmp_path, DatasetError):
        pass


def test_an_error_inside_comes_through_and_frees_the_folder(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path, DatasetError):
        raise KeyError
    with exclusive(tmp_path, DatasetError):
        pass


def test_records_that_another_process_writes_are_left_alone(tmp_path):
    Image.new("RGB", (178, 218)).save(tmp_path / "picture.png")
    (tmp_path / "labels.csv").write_text("file,Smiling\npicture.png,1\n")
    unfinished = tmp_path / "records" / ".train-00000-of-00001.aaaa.tmp.tfrecord"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"half")
    refused = pytest.raises(DatasetError, match="another process is at work")
    with exclusive(unfinished.parent, DatasetError), refused:
        annotate(open_dataset(tmp_path / "labels.csv"), unfinished.parent, progress=False)
    assert list(unfinished.parent.iterdir()) == [unfinished]
