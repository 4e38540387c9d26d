import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from far_keras.datasets.annotate import annotate
from far_keras.datasets.dataset import open_dataset
from far_keras.errors import DatasetError, ModelError
from far_keras.files import atomic_path, exclusive, remove_temporary_files, writing


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for content in ("first", "second"):
        with atomic_path(path) as temporary:
            temporary.write_text(content)
            assert temporary.parent == path.parent
            assert temporary.suffix == ".txt"
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_the_system_name_the_path_and_the_advice(tmp_path):
    full = pytest.raises(DatasetError, match=r"x\.csv: cannot write: the disk is full\. Free some")
    with full, writing("x.csv", DatasetError, "Free some space"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ModelError, match="as it is"), writing("x", DatasetError, ""):
        raise ModelError("as it is")


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / f".a.{os.urandom(6).hex()}.tmp.jpg").touch()
    (tmp_path / "a.tmp.jpg").touch()
    remove_temporary_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tmp.jpg"]


HOLDER = """
import sys, time
from far_keras.errors import DatasetError
from far_keras.files import exclusive
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
    another = pytest.raises(ModelError, match="another process is working in this folder")
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
    refused = pytest.raises(DatasetError, match="another process is working")
    with exclusive(unfinished.parent, DatasetError), refused:
        annotate(open_dataset(tmp_path / "labels.csv"), unfinished.parent, progress=False)
    assert list(unfinished.parent.iterdir()) == [unfinished]
