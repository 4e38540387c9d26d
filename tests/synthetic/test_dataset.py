"""Real data sets on disk; those of faces are small, since a face takes a sixth of a second."""

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
from far_keras.files import exclusive
from far_keras.schema import CELEBA
from far_keras.synthetic.dataset import split_of, synthesize
from far_keras.synthetic.regions import Region

QUIET = Console(quiet=True)
COUNT = 16


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def read_table(path: Path) -> dict[str, list[int]]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return {name: [int(value) for value in values] for name, *values in rows}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A small set of faces made by one process."""
    directory = tmp_path_factory.mktemp("faces")
    made = synthesize(directory, COUNT, seed=3, workers=1, negatives=0.15, console=QUIET)
    return directory, made


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
    synthesize(tmp_path, 150, seed=0, workers=1, negatives=1.0, console=QUIET)
    splits = read_table(tmp_path / "list_eval_partition.txt")
    identities = read_table(tmp_path / "identity_CelebA.txt")
    groups = {split: set() for split in (0, 1, 2)}
    for name, (split,) in splits.items():
        groups[split].add(identities[name][0])
    assert groups[0] and groups[1] and groups[2]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    shares = np.bincount([split_of(identity) for identity in range(1, 1001)]) / 1000
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1])


def test_two_workers_write_the_same_bytes_as_one(faces, tmp_path):
    directory, _ = faces
    synthesize(tmp_path, COUNT, seed=3, workers=2, negatives=0.15, console=QUIET)
    assert contents(tmp_path) == contents(directory)


def test_another_seed_gives_other_images(faces, tmp_path):
    directory, _ = faces
    synthesize(tmp_path, 3, seed=4, workers=1, negatives=0.15, console=QUIET)
    first = "img_align_celeba/000001.jpg"
    assert (tmp_path / first).read_bytes() != (directory / first).read_bytes()


def test_after_a_kill_the_same_call_resumes(faces, tmp_path):
    directory, _ = faces
    call = (
        "from far_keras.synthetic.dataset import synthesize\n"
        "if __name__ == '__main__':\n"
        f"    synthesize({str(tmp_path)!r}, {COUNT}, seed=3, workers=1, negatives=0.15)\n"
    )
    script = tmp_path.parent / "synthesize_until_killed.py"
    script.write_text(call)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    images = tmp_path / "img_align_celeba"
    deadline = time.monotonic() + 120
    while len(list(images.glob("0*.jpg"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # its worker notices
    before = len(list(images.glob("0*.jpg")))
    assert 3 <= before < COUNT
    assert not (tmp_path / "list_attr_celeba.txt").exists()
    time.sleep(1)
    assert len(list(images.glob("0*.jpg"))) == before, "a worker outlived its parent"

    # As if the machine had stopped while files were being written.
    (images / ".000009.jpg.77.tmp").write_bytes(b"half")
    (images / "000002.jpg").write_bytes((images / "000002.jpg").read_bytes()[:2000])
    made = synthesize(tmp_path, COUNT, seed=3, workers=1, negatives=0.15, console=QUIET)
    assert made.rendered == COUNT - before + 1
    assert contents(tmp_path) == contents(directory)


def test_after_ctrl_c_the_same_call_resumes(tmp_path):
    call = (
        "from far_keras.synthetic.dataset import synthesize\n"
        "if __name__ == '__main__':\n"
        f"    synthesize({str(tmp_path)!r}, 400, workers=1, negatives=1.0)\n"
    )
    script = tmp_path.parent / "synthesize_until_interrupted.py"
    script.write_text(call)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores Ctrl-C, and what it starts inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    images = tmp_path / "img_align_celeba"
    while len(list(images.glob("0*.jpg"))) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, shown = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "Run the same command again: it resumes" in shown
    made = synthesize(tmp_path, 400, workers=1, negatives=1.0, console=QUIET)
    assert 0 < made.rendered < 400
    assert json.loads((tmp_path / "synthesis.json").read_text())["complete"]


def test_a_larger_count_extends_a_set(tmp_path):
    long, short = tmp_path / "long", tmp_path / "short"
    synthesize(long, 12, workers=1, negatives=1.0, console=QUIET)
    synthesize(short, 5, workers=1, negatives=1.0, console=QUIET)
    assert synthesize(short, 12, workers=1, negatives=1.0, console=QUIET).rendered == 7
    assert contents(short) == contents(long)
    with pytest.raises(DatasetError, match="started with a count of 12"):
        synthesize(short, 5, workers=1, negatives=1.0, console=QUIET)


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    synthesize(tmp_path, 2, seed=0, workers=1, negatives=1.0, console=QUIET)
    with pytest.raises(DatasetError, match="seed = 0, not 1"):
        synthesize(tmp_path, 2, seed=1, workers=1, negatives=1.0, console=QUIET)
    with pytest.raises(DatasetError, match="force"):
        synthesize(tmp_path, 2, workers=1, negatives=1.0, force={"Male": 1}, console=QUIET)


def test_images_of_an_older_renderer_are_not_continued(tmp_path):
    synthesize(tmp_path, 1, workers=1, negatives=1.0, console=QUIET)
    provenance = tmp_path / "synthesis.json"
    settings = json.loads(provenance.read_text())
    assert settings.pop("renderer") > 1
    provenance.write_text(json.dumps(settings))
    with pytest.raises(DatasetError, match=r"renderer = 1, not \d"):
        synthesize(tmp_path, 2, workers=1, negatives=1.0, console=QUIET)


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
    unfinished = tmp_path / ".000001.jpg.tmp"  # the other one's
    unfinished.write_bytes(b"half")
    refused = pytest.raises(DatasetError, match="another process is working")
    with exclusive(tmp_path, DatasetError), refused:
        synthesize(tmp_path, 2, workers=1, negatives=1.0, console=QUIET)
    assert list(tmp_path.iterdir()) == [unfinished]


def test_agreements_are_part_of_a_sets_provenance(tmp_path):
    ties = {"Smiling": ("Wavy_Hair", 0.97)}
    synthesize(tmp_path / "set", 2, negatives=0.0, workers=1, agreements=ties)
    assert synthesize(tmp_path / "set", 2, negatives=0.0, workers=1, agreements=ties).rendered == 0
    with pytest.raises(DatasetError, match="agreements"):
        synthesize(tmp_path / "set", 2, negatives=0.0, workers=1)
