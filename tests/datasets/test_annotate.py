import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

import far_keras
from far_keras.datasets.annotate import _crop_to_frame, annotate
from far_keras.datasets.dataset import open_dataset
from far_keras.datasets.pipeline import load_records
from far_keras.datasets.records import read_manifest, read_shard
from far_keras.errors import DatasetError
from far_keras.faces.alignment import ALIGNED_EYES, align, eye_centers
from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.region_map import Region
from far_keras.faces.regions import pack_masks, region_masks
from far_keras.images import read_image
from far_keras.jobs import Journal
from far_keras.schema import CELEBA, REGIONS

ATTRIBUTES = CELEBA.attributes


@pytest.fixture(scope="module")
def face():
    """A portrait in CelebA's frame, uint8 (218, 178, 3)."""
    with FaceLandmarker() as landmarker:
        photograph = astronaut()
        return align(photograph, landmarker.detect(photograph)[0]).image


def jpeg(image, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def write_celeba(root, images, splits, regions=None, no_face=()):
    """A set in CelebA's layout from the images' bytes; labels are drawn. Returns the labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, (len(images), len(ATTRIBUTES)))
    names = [f"{number:06d}.jpg" for number in range(1, len(images) + 1)]
    (root / "img_align_celeba").mkdir(parents=True)
    for name, data in zip(names, images, strict=True):
        (root / "img_align_celeba" / name).write_bytes(data)
    signs = {1: "1", 0: "-1", -1: "0"}
    rows = [
        " ".join([name, *(signs[v] for v in row)]) for name, row in zip(names, labels, strict=True)
    ]
    (root / "list_attr_celeba.txt").write_text(
        "\n".join([str(len(names)), " ".join(ATTRIBUTES), *rows, ""])
    )
    for file, values in (
        ("list_eval_partition.txt", splits),
        ("identity_CelebA.txt", [7 * index for index in range(len(names))]),
    ):
        lines = [f"{name} {value}\n" for name, value in zip(names, values, strict=True)]
        (root / file).write_text("".join(lines))
    if regions is not None:
        (root / "regions").mkdir()
        for name in names:
            Image.fromarray(regions).save(root / "regions" / name.replace("jpg", "png"))
    (root / "list_no_face.txt").write_text("".join(f"{name}\n" for name in no_face))
    return labels


def all_records(folder):
    return {
        record.file: record
        for shard in read_manifest(folder).shards
        for record in read_shard(folder / shard.file)
    }


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tfrecord"))}


def unpack(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_every_kind_of_image(tmp_path, face):
    noise = np.random.default_rng(0).integers(0, 256, (218, 178, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    images = [
        jpeg(face),
        jpeg(noise),
        jpeg(np.full_like(face, 90)),
        jpeg(face)[:3000],
        jpeg(face.mean(axis=-1).astype(np.uint8)),
        jpeg(np.ascontiguousarray(face[::-1, ::-1]), exif=exif),
        b"no image at all",
    ]
    regions = np.full((218, 178), Region.BACKGROUND, np.uint8)
    regions[20:60] = Region.HAIR
    labels = write_celeba(tmp_path / "set", images, [0, 0, 0, 0, 1, 2, 2], regions, ["000003.jpg"])
    folder = tmp_path / "records"
    summary = annotate(open_dataset(tmp_path / "set"), folder, workers=1, progress=False)
    assert summary.records == {"train": 3, "valid": 1, "test": 1}
    assert summary.faces_not_found == ("000002.jpg",)
    assert summary.faceless == 1
    assert [name for name, _ in summary.unreadable] == ["000004.jpg", "000007.jpg"]
    assert "truncated" in dict(summary.unreadable)["000004.jpg"]
    assert summary.annotated == 7
    for word in ("000002.jpg", "000004.jpg", "000007.jpg", f"Next: far-keras train {folder}"):
        assert word in str(summary)

    records = all_records(folder)
    assert sorted(records) == [f"00000{number}.jpg" for number in (1, 2, 3, 5, 6)]
    for name, record in records.items():
        row = int(name[:6]) - 1
        expected = np.full(40, -1) if row == 2 else labels[row]
        np.testing.assert_array_equal(record.labels, expected)
        assert record.identity == 7 * row
        assert Image.open(io.BytesIO(record.image)).size == (178, 218)
        hair = np.where(regions == Region.HAIR, 1 << REGIONS.index("hair"), 0)
        bit = 1 << REGIONS.index("hair")
        np.testing.assert_array_equal(unpack(record.true_masks) & bit, hair)

    # Plain JPEGs in the frame are kept byte for byte; grey or turned ones are encoded anew.
    for row in (0, 1, 2):
        assert records[f"00000{row + 1}.jpg"].image == images[row]
    assert Image.open(io.BytesIO(records["000005.jpg"].image)).mode == "RGB"
    turned = read_image(records["000006.jpg"].image).astype(int)
    assert np.abs(turned - face).mean() < 4  # twice through JPEG

    with FaceLandmarker() as landmarker:
        first = read_image(images[0])
        landmarks = landmarker.detect(first)[0]
    np.testing.assert_array_equal(
        unpack(records["000001.jpg"].masks), pack_masks(region_masks(landmarks, image=first))
    )
    assert records["000002.jpg"].masks == b""
    assert unpack(records["000003.jpg"].masks).max() == 0
    for name in ("000005.jpg", "000006.jpg"):
        assert unpack(records[name].masks).max() > 0

    _, targets = next(iter(load_records(folder, "train", masks="landmarks")))
    masks = targets["masks"].numpy().reshape(3, -1)
    kinds = sorted(
        "none" if (m == -1).all() else "empty" if (m == 0).all() else "face" for m in masks
    )
    assert kinds == ["empty", "face", "none"]


def test_own_photographs_are_aligned(tmp_path):
    photograph = astronaut()
    Image.fromarray(photograph).save(tmp_path / "portrait.png")
    wall = np.zeros((300, 500, 3), np.uint8)
    wall[:, 250 - 124 : 250 + 124] = 200  # a crop of the frame is 245 pixels wide
    Image.fromarray(wall).save(tmp_path / "wall.png")
    (tmp_path / "labels.csv").write_text(
        "file,split,Smiling\nportrait.png,train,1\nwall.png,train,0\n"
    )
    folder = tmp_path / "records"
    summary = annotate(open_dataset(tmp_path), folder, workers=1, progress=False)
    assert summary.faces_not_found == ("wall.png",)
    records = all_records(folder)
    with FaceLandmarker() as landmarker:
        landmarks = landmarker.detect(read_image(records["portrait.png"].image))[0]
    # The landmark model is repeatable to about a pixel in images of another scale.
    np.testing.assert_allclose(eye_centers(landmarks)[:, :2], ALIGNED_EYES, atol=1.5)
    cropped = read_image(records["wall.png"].image)
    assert cropped.shape == (218, 178, 3)
    assert cropped.min() > 190  # the middle at full height
    assert records["wall.png"].labels.tolist() == [0]


@pytest.fixture(scope="module")
def many(tmp_path_factory, face):
    """A set of 120 images of 12 kinds, and its records written without interruption."""
    kinds = [jpeg(np.roll(face, (shift, -shift), (0, 1))) for shift in range(12)]
    root = tmp_path_factory.mktemp("many")
    write_celeba(root / "set", kinds * 10, [0] * 100 + [1] * 10 + [2] * 10)
    annotate(open_dataset(root / "set"), root / "whole", workers=1, shard_images=6, progress=False)
    return root


SCRIPT = """
import sys
from far_keras.datasets.annotate import annotate
from far_keras.datasets.dataset import open_dataset

if __name__ == "__main__":
    root, folder = sys.argv[1:]
    annotate(open_dataset(root), folder, workers=2, shard_images=6, progress=False)
"""
JOURNAL = ".annotate.jsonl"


def finished_shards(folder):
    """File names in the journal of an unfinished annotation, which has a header line."""
    lines = (folder / JOURNAL).read_text().split("\n")[1:-1] if (folder / JOURNAL).exists() else []
    return [json.loads(line)["key"] for line in lines]


def processes_of_session(session):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, sid = stat.read_text().rsplit(")", 1)[1].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if int(sid) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds processes in /proc")
def test_kill_in_the_middle_then_resume(tmp_path, many):
    folder, script = tmp_path / "records", tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, many / "set", folder],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(far_keras.__file__).parents[1])},
    )
    deadline = time.monotonic() + 120
    while len(finished_shards(folder)) < 3:
        if time.monotonic() > deadline or process.poll() is not None:
            pytest.fail(f"the process did not write 3 shards: {process.communicate()[1]}")
        time.sleep(0.002)
    process.kill()
    process.wait()
    while processes_of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    left_behind = processes_of_session(process.pid)
    for worker in left_behind:
        os.kill(worker, signal.SIGKILL)
    process.communicate()
    assert left_behind == []

    with pytest.raises(DatasetError, match=r"no manifest\.json"):
        load_records(folder, "train")
    finished = {name: (folder / name).stat().st_mtime_ns for name in finished_shards(folder)}
    assert 3 <= len(finished) < 21
    (folder / ".train-00016-of-00017.aaaa.tmp.tfrecord").write_bytes(b"left over")
    damaged = next(iter(finished))  # not as long as it was: written again
    (folder / damaged).write_bytes(b"cut off")
    del finished[damaged]
    summary = annotate(
        open_dataset(many / "set"), folder, workers=1, shard_images=6, progress=False
    )
    assert summary.annotated < 120
    assert shard_bytes(folder) == shard_bytes(many / "whole")
    assert read_manifest(folder) == read_manifest(many / "whole")
    for name, written in finished.items():
        assert (folder / name).stat().st_mtime_ns == written  # not written again
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (many / "whole").iterdir()
    )


def test_interrupt_leaves_only_whole_shards(tmp_path, many, monkeypatch, capfd):
    dataset, add = open_dataset(many / "set"), Journal.add

    def add_and_interrupt(journal, items):
        add(journal, items)
        if len(journal) == 2:  # as a terminal does on Ctrl-C: the whole process group
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Journal, "add", add_and_interrupt)
    # A background job of a shell ignores Ctrl-C, and the processes that it starts inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            annotate(dataset, tmp_path, workers=2, shard_images=6, progress=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Traceback" not in capfd.readouterr().err  # of the workers
    assert list(tmp_path.glob(".*.tmp.tfrecord")) == []
    whole, written = shard_bytes(many / "whole"), shard_bytes(tmp_path)
    assert 2 <= len(written) < len(whole)
    assert all(whole[name] == data for name, data in written.items())
    with pytest.raises(DatasetError, match=r"annotate\.jsonl: .*shard_images = 6, not 7"):
        annotate(dataset, tmp_path, shard_images=7, progress=False)


def test_an_unfinished_folder_of_version_0_1_is_refused(tmp_path, many):
    (tmp_path / ".progress").mkdir()
    with pytest.raises(DatasetError, match=r"unfinished annotation of far_keras 0\.1.* Delete"):
        annotate(open_dataset(many / "set"), tmp_path, progress=False)


def test_full_disk(tmp_path, many):
    folder = tmp_path / "records"
    size = (many / "whole" / "train-00000-of-00017.tfrecord").stat().st_size
    dataset = open_dataset(many / "set")
    options = {"workers": 1, "shard_images": 6, "progress": False}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))  # writing fails half-way
    try:
        with pytest.raises(DatasetError, match=r"cannot write the records.*Check the free space"):
            annotate(dataset, folder, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shard_bytes(folder) == {}
    assert list(folder.glob(".*tfrecord")) == []
    annotate(dataset, folder, **options)
    assert shard_bytes(folder) == shard_bytes(many / "whole")


def test_a_finished_folder_is_left_alone_and_mixing_is_refused(tmp_path, many):
    dataset = open_dataset(many / "set")
    before = {path: path.stat().st_mtime_ns for path in (many / "whole").iterdir()}
    again = annotate(dataset, many / "whole", shard_images=6, progress=False)
    assert again.annotated == 0
    assert again.records == {"train": 100, "valid": 10, "test": 10}
    assert {path: path.stat().st_mtime_ns for path in (many / "whole").iterdir()} == before
    for other in (renamed(dataset), relabelled(dataset)):
        with pytest.raises(DatasetError, match="another data set, of other labels"):
            annotate(other, many / "whole", shard_images=6, progress=False)
    with pytest.raises(DatasetError, match="other settings"):
        annotate(dataset, many / "whole", shard_images=7, progress=False)


def renamed(dataset):
    return replace(dataset, files=(*dataset.files[:-1], Path("other.jpg")))


def relabelled(dataset):
    labels = dataset.labels.copy()
    labels[0, 0] = 1 - max(labels[0, 0], 0)
    return replace(dataset, labels=labels)


def test_training_images_are_mixed_and_the_others_in_order(many):
    train = [
        r.file
        for s in read_manifest(many / "whole").split_shards("train")
        for r in read_shard(many / "whole" / s.file)
    ]
    valid = [
        r.file
        for s in read_manifest(many / "whole").split_shards("valid")
        for r in read_shard(many / "whole" / s.file)
    ]
    assert sorted(train) == [f"{number:06d}.jpg" for number in range(1, 101)]
    assert train != sorted(train)
    assert valid == [f"{number:06d}.jpg" for number in range(101, 111)]


def test_damaged_region_map_ends_the_work_with_its_name(tmp_path, face):
    root = tmp_path / "set"
    write_celeba(root, [jpeg(face)] * 4, [0, 0, 1, 2], np.zeros((218, 178), np.uint8))
    (root / "regions" / "000002.png").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"000002\.png: cannot read the region map"):
        annotate(open_dataset(root), tmp_path / "records", workers=2, progress=False)
    Image.new("L", (5, 5)).save(root / "regions" / "000002.png")
    with pytest.raises(DatasetError, match=r"000002\.png: expected a single-channel 8-bit PNG"):
        annotate(open_dataset(root), tmp_path / "records", workers=1, progress=False)


def test_nothing_readable_and_bad_arguments(tmp_path, face):
    write_celeba(tmp_path / "set", [b"", b"x"], [0, 1])
    dataset = open_dataset(tmp_path / "set")
    with pytest.raises(DatasetError, match=r"none of 2 images could be read"):
        annotate(dataset, tmp_path / "records", workers=1, progress=False)
    with pytest.raises(DatasetError, match="workers: expected at least 1"):
        annotate(dataset, tmp_path / "records", workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot write"):
        annotate(dataset, tmp_path / "file" / "records", workers=1, progress=False)
    # Mended images are read by the same call.
    (tmp_path / "set" / "img_align_celeba" / "000002.jpg").write_bytes(jpeg(face))
    summary = annotate(dataset, tmp_path / "records", workers=1, progress=False)
    assert summary.records == {"train": 0, "valid": 1, "test": 0}
    assert [name for name, _ in summary.unreadable] == ["000001.jpg"]


def test_images_of_every_size_have_a_frame():
    """Rounding must not move the frame beyond the image, as it did for 189 x 227 pixels."""
    for width, height in [(189, 227), (763, 933), (513, 454), (1, 1), (1, 900)]:
        image = np.full((height, width, 3), 77, np.uint8)
        np.testing.assert_array_equal(_crop_to_frame(image), np.full((218, 178, 3), 77))
    for side in range(150, 400):
        assert _crop_to_frame(np.zeros((side, 3 * side // 4, 3), np.uint8)).shape == (218, 178, 3)
