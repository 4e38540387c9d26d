import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from far_keras.calibration import Calibration
from far_keras.errors import DatasetError
from far_keras.schema import REGIONS, AttributeSchema, Group
from research.explanations import occlusion
from research.explanations.occlusion import HIDDEN, hide, occlude, occlusion_plot, write_occlusion

SCHEMA = AttributeSchema(
    "three",
    ("Top", "Bottom", "Whole"),
    (
        Group("Hair", ("Top",), ("hair",)),
        Group("Mouth", ("Bottom",), ("mouth",)),
        Group("All", ("Whole",), ("object",)),
    ),
)


@keras.saving.register_keras_serializable(package="tests")
class LooksOnlyThere(keras.layers.Layer):
    """Red in the upper half means Top, in the lower half Bottom, everywhere Whole."""

    def call(self, images):
        red = (images[..., 0] - 128.0) / 16.0
        half = red.shape[1] // 2
        mean = keras.ops.mean
        logits = [mean(red[:, :half], (1, 2)), mean(red[:, half:], (1, 2)), mean(red, (1, 2))]
        return {"attributes": keras.ops.stack(logits, axis=-1)}


@pytest.fixture
def network():
    image = keras.Input((64, 64, 3), name="image")
    model = keras.Model(image, LooksOnlyThere()(image))
    return SimpleNamespace(
        model=model, schema=SCHEMA, image_size=64, untrained=(), calibration=Calibration()
    )


@pytest.fixture
def faces(monkeypatch):
    """Grey faces with a red band of hair in the upper and a red mouth in the lower half."""
    image = np.full((218, 178, 3), 90, np.uint8)
    regions = np.zeros((218, 178, 8), bool)
    regions[20:60, 30:150, REGIONS.index("hair")] = True
    regions[140:180, 60:120, REGIONS.index("mouth")] = True
    regions[20:200, 20:160, REGIONS.index("object")] = True
    image[regions[..., REGIONS.index("hair")] | regions[..., REGIONS.index("mouth")], 0] = 250
    monkeypatch.setattr(
        occlusion, "read_faces", lambda records, split, rows: dict.fromkeys(rows, (image, regions))
    )
    return image, regions


def test_only_the_groups_whose_region_is_hidden_move(network, faces):
    (result,) = occlude({"net": network}, "records", count=3)
    change = {(g, r): result.mean[i, j] for i, g in enumerate(SCHEMA.group_names)
              for j, r in enumerate(HIDDEN)}  # fmt: skip
    assert change["Hair", "hair"] > 0.05
    assert change["Mouth", "mouth"] > 0.05
    assert change["Hair", "mouth"] == pytest.approx(0, abs=1e-6)
    assert change["Mouth", "hair"] == pytest.approx(0, abs=1e-6)
    assert min(change["All", "hair"], change["All", "mouth"]) > 0.01
    assert np.isnan(change["Hair", "nose"])  # no image shows one
    shares = result.shares(resamples=50)
    assert shares["own"][0] > 0.05 and shares["foreign"][0] == pytest.approx(0, abs=1e-6)


def test_probabilities_are_calibrated(network, faces):
    (plain,) = occlude({"net": network}, "records", count=1)
    network.calibration = Calibration({"Top": (1e-6, 0.0)})
    (flat,) = occlude({"net": network}, "records", count=1)
    assert plain.mean[0, HIDDEN.index("hair")] > 0.05
    assert flat.mean[0, HIDDEN.index("hair")] == pytest.approx(0, abs=1e-5)
    assert flat.mean[1, HIDDEN.index("mouth")] == plain.mean[1, HIDDEN.index("mouth")]


def test_hiding_leaves_nothing_of_the_region_and_nothing_else_changes(faces):
    image, regions = faces
    mouth = regions[..., REGIONS.index("mouth")]
    hidden = hide(image, mouth)
    assert np.abs(hidden[mouth].astype(int) - 90).max() <= 5  # the colour around it
    far = np.ones_like(mouth)
    far[137:183, 57:123] = False
    np.testing.assert_array_equal(hidden[far], image[far])
    np.testing.assert_array_equal(hide(image, np.zeros_like(mouth)), image)


def test_results_are_written_and_drawn(network, faces, tmp_path):
    results = occlude({"one": network, "two": network}, "records", count=2)
    written, drawn = write_occlusion(results, tmp_path)
    data = json.loads(written.read_text())
    assert [row["name"] for row in data] == ["one", "two"]
    assert len(data[0]["change"]["Hair"]) == len(HIDDEN)
    assert np.asarray(Image.open(drawn)).std() > 20
    assert occlusion_plot(results[:1], tmp_path / "one.png").stat().st_size > 5000


def test_images_without_masks_are_refused(network, monkeypatch):
    monkeypatch.setattr(
        occlusion, "read_faces", lambda *_: {0: (np.zeros((218, 178, 3), np.uint8), None)}
    )
    with pytest.raises(DatasetError, match="no image with masks"):
        occlude({"net": network}, "records")
