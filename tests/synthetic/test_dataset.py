"""Data sets on disk: layout, seeds, resumption after a kill and Ctrl-C, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from far_keras.errors import DatasetError
from far_keras.faces.region_map import Region
from far_keras.files import exclusive
from far_keras.schema import CELEBA, MISSING
from far_keras.synthetic.dataset import LabelRow, split_of, synthesize, write_lists

QUIET = Console(quiet=True)
COUNT = 10
SETTINGS = {"seed": 3, "negatives": 0.3}
ROOT = Path(__file__).parents[2]


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def read_table(path: Path) -> dict[str, list[int]]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return {name: [int(value) for value in values] for name, *values in rows}


def images_in(directory: Path) -> int:
    return len(list((directory / "img_align_celeba").glob("0*.jpg")))


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(directory: Path, count: int, settings: dict, **popen) -> subprocess.Popen:
    """Another process that renders a set, once it has written three images."""
    script = directory.parent / "render.py"
    script.write_text(
        "from far_keras.synthetic.dataset import synthesize\n"
        "if __name__ == '__main__':\n"
        f"    synthesize({str(directory)!r}, {count}, workers=1, **{settings!r})\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(ROOT)}, **popen
    )
    deadline = time.monotonic() + 120
    while images_in(directory) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A small set of faces made by one process."""
    directory = tmp_path_factory.mktemp("faces")
    return directory, synthesize(directory, COUNT, workers=1, console=QUIET, **SETTINGS)


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """Six images without a face, extended from two."""
    directory = tmp_path_factory.mktemp("things")
    for count in (2, 6):
        made = synthesize(directory, count, workers=1, negatives=1.0, console=QUIET)
    assert made.rendered == 4
    return directory


def test_the_layout_is_that_of_celeba(faces):
    directory, made = faces
    names = [f"{number:06d}.jpg" for number in range(1, COUNT + 1)]
    assert sorted(path.name for path in (directory / "img_align_celeba").iterdir()) == names
    lines = (directory / "list_attr_celeba.txt").read_text().splitlines()
    assert lines[0] == str(COUNT)
    assert lines[1].split() == list(CELEBA.attributes)
    assert [line.split()[0] for line in lines[2:]] == names
    for name in names:
        with Image.open(directory / "img_align_celeba" / name) as image:
            assert (image.size, image.mode, image.format) == ((178, 218), "RGB", "JPEG")
        with Image.open(directory / "regions" / name.replace("jpg", "png")) as regions:
            assert (regions.size, regions.mode) == ((178, 218), "L")
            assert np.asarray(regions).max() <= max(Region)
    assert made.count == made.rendered == COUNT
    provenance = json.loads((directory / "synthesis.json").read_text())
    assert (provenance["seed"], provenance["count"], provenance["complete"]) == (3, COUNT, True)
    identities = read_table(directory / "identity_CelebA.txt")
    splits = read_table(directory / "list_eval_partition.txt")
    assert list(identities) == list(splits) == names
    assert all(splits[name] == [split_of(identities[name][0])] for name in names)
    assert made.identities == len({number for (number,) in identities.values()})


def test_negatives_are_listed_and_have_no_labels(faces):
    directory, made = faces
    negatives = (directory / "list_no_face.txt").read_text().split()
    assert len(negatives) == made.negatives > 0
    lines = (directory / "list_attr_celeba.txt").read_text().splitlines()[2:]
    for name, *labels in map(str.split, lines):
        assert (set(labels) == {"0"}) == (name in negatives)
        assert labels[CELEBA.index("Attractive")] == "0"
        regions = np.asarray(Image.open(directory / "regions" / name.replace("jpg", "png")))
        assert (regions == Region.SKIN).any() == (name not in negatives)


def test_splits_share_no_identity(tmp_path):
    labels = np.full(40, MISSING, np.int8)
    write_lists(tmp_path, [LabelRow(n, (n + 2) // 3, False, labels) for n in range(1, 151)])
    splits = read_table(tmp_path / "list_eval_partition.txt")
    identities = read_table(tmp_path / "identity_CelebA.txt")
    groups = {split: set() for split in (0, 1, 2)}
    for name, (split,) in splits.items():
        groups[split].add(identities[name][0])
    assert groups[0] and groups[1] and groups[2]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    shares = np.bincount([split_of(identity) for identity in range(1, 1001)]) / 1000
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1])


def test_two_workers_write_the_same_bytes_as_one(faces, tmp_path):
    directory, _ = faces
    synthesize(tmp_path, COUNT, workers=2, console=QUIET, **SETTINGS)
    assert contents(tmp_path) == contents(directory)


def test_after_a_kill_the_same_call_resumes(faces, tmp_path):
    directory, _ = faces
    target = tmp_path / "set"
    process = start(target, COUNT, SETTINGS, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any(map(is_running, children)):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.01)
    before = images_in(target)
    assert 3 <= before < COUNT
    assert not (target / "list_attr_celeba.txt").exists()

    # As if the machine had stopped while files were being written.
    images = target / "img_align_celeba"
    (images / ".000009.jpg.77.tmp").write_bytes(b"half")
    (images / "000002.jpg").write_bytes((images / "000002.jpg").read_bytes()[:2000])
    made = synthesize(target, COUNT, workers=1, console=QUIET, **SETTINGS)
    assert made.rendered == COUNT - before + 1
    assert contents(target) == contents(directory)


def test_after_ctrl_c_the_same_call_resumes(tmp_path):
    target, count = tmp_path / "set", 30
    process = start(
        target,
        count,
        {"negatives": 1.0},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores Ctrl-C, and what it starts inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, shown = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "Run the same command again: it resumes" in shown
    made = synthesize(target, count, workers=1, negatives=1.0, console=QUIET)
    assert 0 < made.rendered < count
    assert json.loads((target / "synthesis.json").read_text())["complete"]


def test_a_larger_count_extends_a_set(things, tmp_path):
    synthesize(tmp_path, 6, workers=1, negatives=1.0, console=QUIET)
    assert contents(tmp_path) == contents(things)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, "seed = 0, not 1"),
        ({"force": {"Male": 1}}, "force"),
        ({"agreements": {"Smiling": ("Wavy_Hair", 0.97)}}, "agreements = {}, not"),
        ({"correlations": "reversed"}, "correlations = 'people', not 'reversed'"),
        ({"count": 5}, "started with a count of 6"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(things, settings, message):
    before = contents(things)
    with pytest.raises(DatasetError, match=message):
        synthesize(things, **({"count": 6, "negatives": 1.0} | settings), console=QUIET)
    assert contents(things) == before


def test_another_seed_gives_other_images_and_the_same_agreements_resume(faces, tmp_path):
    directory, _ = faces
    settings = {"seed": 4, "negatives": 0.3, "agreements": {"Smiling": ("Wavy_Hair", 0.97)}}
    synthesize(tmp_path, 2, workers=1, console=QUIET, **settings)
    first = "img_align_celeba/000001.jpg"
    assert (tmp_path / first).read_bytes() != (directory / first).read_bytes()
    assert synthesize(tmp_path, 2, workers=1, console=QUIET, **settings).rendered == 0


def test_images_of_an_older_renderer_are_not_continued(things, tmp_path):
    settings = json.loads((things / "synthesis.json").read_text())
    assert settings.pop("renderer") > 1
    (tmp_path / "synthesis.json").write_text(json.dumps(settings))
    with pytest.raises(DatasetError, match=r"renderer = 1, not \d"):
        synthesize(tmp_path, 6, negatives=1.0, console=QUIET)


def test_images_of_other_origin_are_not_mixed_in(tmp_path):
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "img_align_celeba" / "000001.jpg").write_bytes(b"a photograph")
    with pytest.raises(DatasetError, match="not rendered here"):
        synthesize(tmp_path, 2, workers=1, console=QUIET)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count"),
        ({"count": 2, "workers": 0}, "workers"),
        ({"count": 2, "negatives": 1.5}, "negatives"),
        ({"count": 2, "force": {"Bald": 1, "Bangs": 1}}, "Bald and Bangs exclude"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, arguments, message):
    target = tmp_path / "set"
    with pytest.raises(DatasetError, match=message):
        synthesize(target, **arguments, console=QUIET)
    assert not target.exists()


def test_a_file_in_place_of_the_folder(tmp_path):
    target = tmp_path / "set"
    target.write_text("")
    with pytest.raises(DatasetError, match="cannot write"):
        synthesize(target, 2, console=QUIET)


def test_a_folder_that_another_process_fills_is_left_alone(tmp_path):
    unfinished = tmp_path / ".000001.jpg.tmp"  # the other process's
    unfinished.write_bytes(b"half")
    refused = pytest.raises(DatasetError, match="another process is working")
    with exclusive(tmp_path, DatasetError), refused:
        synthesize(tmp_path, 2, workers=1, negatives=1.0, console=QUIET)
    assert list(tmp_path.iterdir()) == [unfinished]
