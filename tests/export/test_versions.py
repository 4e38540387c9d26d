import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from far_keras.errors import ModelError
from far_keras.export.saved_model import new_version
from far_keras.files import list_versions

FILES = 40


def write_files(folder):
    """A version of many files; the sidecar, of which a reader would conclude that all is there."""
    for number in range(FILES):
        (folder / f"part-{number}").write_bytes(bytes(1000))
    (folder / "nested").mkdir()
    (folder / "nested" / "last").write_text("done")


def is_whole(folder):
    return len(list(folder.iterdir())) == FILES + 1 and (folder / "nested" / "last").exists()


def test_versions_are_numbered_from_one_and_the_highest_counts(tmp_path):
    folder = tmp_path / "models" / "faces"
    for expected in (1, 2):
        with new_version(folder) as lent:
            write_files(lent.folder)
        assert (lent.number, lent.folder) == (expected, folder / str(expected))
        assert is_whole(lent.folder)
    (folder / "7").mkdir()
    for passed_over in ("notes.txt", "latest", "-9", "1.5", "²"):
        (folder / passed_over).mkdir()
    assert list(list_versions(folder)) == [1, 2, 7]
    with new_version(folder) as lent:
        write_files(lent.folder)
    assert lent.number == 8
    assert not [entry for entry in folder.iterdir() if entry.name.startswith(".")]


def test_a_number_can_be_chosen_but_not_twice(tmp_path):
    with new_version(tmp_path, 20251125) as lent:
        write_files(lent.folder)
    assert lent.folder == tmp_path / "20251125"
    with (
        pytest.raises(ModelError, match=r"20251125: .*such as 20251126"),
        new_version(tmp_path, 20251125),
    ):
        raise AssertionError("refused before any work is done")
    with pytest.raises(ModelError, match="Received: 0"), new_version(tmp_path, 0):
        pass
    assert list(list_versions(tmp_path)) == [20251125]


def test_a_number_that_is_taken_meanwhile_is_left_alone(tmp_path):
    (tmp_path / "other").write_text("of someone else")
    with (
        pytest.raises(ModelError, match="3: this version is there already"),
        new_version(tmp_path, 3) as lent,
    ):
        write_files(lent.folder)
        (tmp_path / "3").mkdir()
    assert sorted(os.listdir(tmp_path)) == ["3", "other"]
    assert os.listdir(tmp_path / "3") == []


def test_an_empty_folder_of_that_number_is_not_replaced(tmp_path):
    with new_version(tmp_path) as lent:
        write_files(lent.folder)
        (tmp_path / "1").mkdir()  # someone else begins a version by hand
    assert lent.number == 2
    assert os.listdir(tmp_path / "1") == []


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_version(tmp_path) as lent:
        write_files(lent.folder)
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=str(tmp_path)), new_version(tmp_path / "faces"):
        pass


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "faces").write_text("no folder")
    with pytest.raises(FileExistsError, match="faces"), new_version(tmp_path / "faces"):
        pass


def test_a_watcher_never_sees_a_part(tmp_path):
    seen, incomplete, stop = set(), [], threading.Event()

    def watch():
        while not stop.is_set():
            for version in list_versions(tmp_path):
                seen.add(version)
                if not is_whole(tmp_path / str(version)):
                    incomplete.append(version)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(10):
            with new_version(tmp_path) as lent:
                write_files(lent.folder)
                time.sleep(0.005)
            time.sleep(0.005)
    finally:
        stop.set()
        watcher.join()
    assert not incomplete
    assert seen == set(range(1, 11))


EXPORTER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from far_keras.export.saved_model import new_version

    folder, count, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    for _ in range(count):
        with new_version(folder) as lent:
            for number in range(40):
                (lent.folder / f"part-{number}").write_bytes(bytes(1000))
            (lent.folder / "nested").mkdir()
            (lent.folder / "nested" / "last").write_text("done")
            print("written", flush=True)
            time.sleep(pause)
        print(lent.number, flush=True)
    """
)


def exporter(folder, count, pause):
    return subprocess.Popen(
        [sys.executable, "-c", EXPORTER, str(folder), str(count), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_a_killed_exporter_leaves_no_version(tmp_path):
    process = exporter(tmp_path, 1, 60)
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate(timeout=30)
    assert list_versions(tmp_path) == {}
    # What is left is hidden, and in nobody's way.
    assert [(entry.name[0], entry.suffix) for entry in tmp_path.iterdir()] == [(".", ".tmp")]
    with new_version(tmp_path) as lent:
        write_files(lent.folder)
    assert lent.number == 1


@pytest.mark.slow
def test_exporters_at_once_get_numbers_of_their_own(tmp_path):
    processes = [exporter(tmp_path, 8, 0.002) for _ in range(3)]
    numbers = []
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        numbers += [int(line) for line in output.split() if line.isdigit()]
    assert sorted(numbers) == list(range(1, 25)) == list(list_versions(tmp_path))
    assert all(is_whole(tmp_path / str(number)) for number in numbers)
