import hashlib
import io
import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from far_keras.calibration import Calibration
from far_keras.cli import main
from far_keras.datasets.records import FaceRecord, Manifest, Shard, read_manifest, write_shard
from far_keras.errors import DatasetError, ModelError
from far_keras.evaluation.evaluate import evaluate
from far_keras.evaluation.parity import measure_parity
from far_keras.evaluation.predict import predict_split
from far_keras.export.tflite import export_tflite
from far_keras.export.tflite_file import read_metadata
from far_keras.models.storage import load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import REGIONS, AttributeSchema, Group

SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth",))),
)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """12 training and 30 test images; a brighter one is more often bald."""
    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    shards = []
    for split, count in (("train", 12), ("test", 30)):
        written = []
        for k in range(count):
            coarse = rng.integers(0, 256, (6, 5, 3)).astype(np.uint8)
            image = io.BytesIO()
            Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC).save(image, "JPEG")
            packed = np.zeros((218, 178), np.uint8)
            packed[: rng.integers(40, 100)] |= 1 << REGIONS.index("hair")
            packed[150:180, 50:120] |= 1 << REGIONS.index("mouth")
            labels = np.array([coarse.mean() > 127, rng.integers(0, 2)], np.int8)
            written.append(
                FaceRecord(
                    f"{split}{k}.jpg",
                    image.getvalue(),
                    labels,
                    masks=png(packed),
                    identity=k // 2,
                )
            )
        size = write_shard(folder / f"{split}.rec", iter(written))
        shards.append(Shard(f"{split}.rec", split, count, size))
    Manifest("colours", SCHEMA.attributes, False, "0", tuple(shards)).write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, records):
    config = ModelConfig("mgmtn_mobilenetv3small", {"image_size": 32})
    keras.utils.set_random_seed(0)
    model = build_model(config, SCHEMA)
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0  # one call sets the statistics
    model(rng.uniform(0, 255, (8, 32, 32, 3)).astype(np.float32), training=True)
    return save_model(
        model,
        tmp_path_factory.mktemp("models") / "colours",
        config=config,
        schema=SCHEMA,
        thresholds={"Bald": 0.45, "Smiling": 0.5},
        calibration=Calibration({"Bald": (0.5, 0.1)}),
        provenance={"config": {"records": str(records)}},
    )


@pytest.fixture(scope="module")
def files(folder, tmp_path_factory):
    return export_tflite(
        folder, tmp_path_factory.mktemp("phone"), precisions=["float32", "dynamic"]
    )


def test_a_file_stands_beside_the_network(folder, files, records):
    loaded = load_model(folder)
    parity = measure_parity(loaded, files, records, resamples=50, progress=False)
    assert parity.images == 30
    exact, coarse = parity.files
    assert exact.difference < 1e-5 < coarse.difference
    assert exact.mask_difference < 1e-5 < coarse.mask_difference
    assert exact.largest_difference >= exact.difference
    assert set(exact.agreement) == {"Bald", "Smiling"}
    assert exact.mean_agreement > 0.98
    assert exact.size == files["float32"].stat().st_size
    # The network's own scores are those of `evaluate`.
    own = evaluate(folder, records, resamples=50, progress=False).models[0]
    assert parity.accuracy.value == pytest.approx(
        own.mean["accuracy_at_thresholds"].value, abs=1e-6
    )
    assert exact.accuracy_change.value == pytest.approx(
        exact.accuracy.value - parity.accuracy.value
    )
    assert exact.accuracy.low <= exact.accuracy.value <= exact.accuracy.high
    assert exact.mask_iou is not None and exact.mask_iou_change is not None
    assert abs(exact.mask_iou_change.value) < 0.01


def test_a_wrong_file_is_found_out(folder, files, records):
    """A file of other weights differs, and the report has the amount."""
    loaded = load_model(folder)
    bias = loaded.model.get_layer("group_logits").bias
    own = predict_split(loaded, records, "test").probabilities
    bald = own[:, 0] >= loaded.thresholds["Bald"]
    shift = 40.0 if np.mean(bald) < 0.5 else -40.0  # what few were, all are now
    bias.assign_add(np.array([shift, 0.0], np.float32))
    parity = measure_parity(
        loaded, {"other": files["float32"]}, records, resamples=20, progress=False
    )
    (file,) = parity.files
    assert file.agreement["Bald"] == pytest.approx(min(bald.mean(), 1 - bald.mean()))
    assert file.agreement["Bald"] <= 0.5
    assert file.agreement["Smiling"] == 1.0
    assert file.largest_difference > 0.05


def test_another_schema_is_refused(folder, files, records):
    other = AttributeSchema("one", ("Bald",), (Group("Hair", ("Bald",), ("hair",)),))
    loaded = replace(load_model(folder), schema=other)
    with pytest.raises(ModelError, match=r"schema 'one'\. Received: the schema 'two'"):
        measure_parity(loaded, files, records, progress=False)


def test_a_split_without_images_is_refused(folder, files, records):
    loaded = load_model(folder)
    with pytest.raises(DatasetError, match="'valid' has no images"):
        measure_parity(loaded, files, records, "valid", progress=False)


@pytest.mark.slow
def test_the_command_writes_all_files_and_compares_them(folder, records, tmp_path, capsys):
    # The records are found where the training left them.
    more = ["--name", "c", "--licence", "CC0-1.0"]
    assert main(["export", str(folder), "--tflite", str(tmp_path), *more]) == 0
    shown = capsys.readouterr().out
    assert "30 images of the split 'test'" in shown
    names = {f"c-{kind}.tflite" for kind in ("float32", "float16", "dynamic", "int8")}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "parity.json"}
    report = json.loads((tmp_path / "parity.json").read_text())
    assert [file["name"] for file in report["files"]] == ["float32", "float16", "dynamic", "int8"]
    assert report["files"][0]["difference"] < 1e-4
    assert report["files"][3]["path"] == str(tmp_path / "c-int8.tflite")
    description, facts, _ = read_metadata(tmp_path / "c-int8.tflite")
    assert description.licence == "CC0-1.0"
    # Which images, but not where they lie on this machine.
    manifest = hashlib.sha256((records / "manifest.json").read_bytes()).hexdigest()
    name = read_manifest(records).name
    source = f"{name}, training split, manifest_sha256 {manifest}"
    assert facts["calibrated_on"]["from"] == source


@pytest.mark.slow
def test_the_command_without_images(folder, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / "provenance.json").write_text("{}")
    assert main(["export", str(copy), "--tflite", str(tmp_path / "out")]) == 0
    assert "int8 was not written" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_the_command_must_know_what_to_write(folder, capsys):
    assert main(["export", str(folder)]) == 1
    assert "expected --to FOLDER, --tflite FOLDER or both" in capsys.readouterr().err
