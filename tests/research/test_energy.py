import io
import json

import keras
import numpy as np
import pytest
from PIL import Image

from far_keras.datasets.records import FaceRecord, Manifest, Shard, write_shard
from far_keras.errors import DatasetError, ModelError
from far_keras.models.storage import save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import REGIONS, AttributeSchema, Group
from research.explanations.__main__ import main
from research.explanations.energy import (
    Examples,
    Explanation,
    activation_energy,
    explain,
    explanation_grid,
    gradient_energy,
    proportional_energy,
)

SCHEMA = AttributeSchema(
    "two",
    ("Bald", "Smiling"),
    (Group("Hair", ("Bald",), ("hair",)), Group("Mouth", ("Smiling",), ("mouth",))),
)
NAMES = ("mgmtn_mobilenetv3small", "baseline_mobilenetv3small")


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Twelve images of noise, two of them without masks; hair covers a quarter."""
    folder, made = tmp_path_factory.mktemp("records"), []
    rng = np.random.default_rng(0)
    packed = np.zeros((218, 178), np.uint8)
    packed[:109, :89] |= 1 << REGIONS.index("hair")
    packed[150:180, 60:120] |= 1 << REGIONS.index("mouth")
    for k in range(12):
        image = io.BytesIO()
        noise = rng.integers(0, 256, (11, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((178, 218)).save(image, "JPEG")
        made.append(
            FaceRecord(
                f"{k}.jpg", image.getvalue(), np.array([0, 1], np.int8),
                masks=b"" if k in (4, 7) else png(packed), identity=k // 3,
            )
        )  # fmt: skip
    size = write_shard(folder / "test.rec", made)
    Manifest("noise", SCHEMA.attributes, False, "0", (Shard("test.rec", "test", 12, size),)).write(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = []
    for name in NAMES:
        config = ModelConfig(name, {"image_size": 32})
        model = build_model(config, SCHEMA)
        made.append(save_model(model, folder / name, config=config, schema=SCHEMA))
    return made


@pytest.mark.slow
def test_the_command_writes_shares_and_grids(records, models, tmp_path, capsys):
    output = tmp_path / "explained"
    command = ["energy", *map(str, models), "--records", str(records)]
    assert main([*command, "--count", "12", "--examples", "2", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "10 images of 4 persons" in printed and "class activation" in printed
    data = json.loads((output / "explanation.json").read_text())
    assert data["data"]["without_masks"] == 2
    assert data["area"]["Hair"]["value"] == pytest.approx(0.25, abs=1e-6)
    for name in NAMES:
        for method in ("activation", "gradient"):
            estimates = data["inside"][name][method]
            assert set(estimates) == {"Hair", "Mouth", "mean"}
            for each in estimates.values():
                assert 0 < each["low"] <= each["value"] <= each["high"] < 1
    both = [data["inside"][name]["gradient"]["Hair"]["value"] for name in NAMES]
    difference = data["differences"][" - ".join(NAMES)]["gradient"]["Hair"]
    assert difference["value"] == pytest.approx(both[0] - both[1], abs=2e-6)  # of six digits
    for method in ("activation", "gradient"):
        with Image.open(output / f"explanation-{method}.png") as grid:
            assert grid.width > 400 and np.asarray(grid).std() > 20


@pytest.mark.slow
def test_the_same_seed_draws_the_same_images(records, models):
    options = {"count": 5, "methods": ("gradient",), "resamples": 20, "progress": False}
    shares = []
    for seed in (0, 0, 1):
        (methods,) = explain(models[1], records, **options, seed=seed).inside.values()
        shares.append([share.value for share in methods["gradient"].values()])
    first, again, other = shares
    # Of several threads; other images differ by far more.
    np.testing.assert_allclose(again, first, rtol=1e-4, equal_nan=True)
    assert not np.allclose(other, first, rtol=1e-2, equal_nan=True)


@pytest.mark.slow
def test_what_cannot_be_explained_is_refused(records, models, tmp_path):
    with pytest.raises(DatasetError, match="count and methods: expected at least 1"):
        explain(models, records, count=0)
    with pytest.raises(DatasetError, match="'valid' has no images"):
        explain(models, records, "valid")
    config = ModelConfig("mgmtn_mobilenetv3small", {"image_size": 64, "masks": "given"})
    model = build_model(config, SCHEMA)
    given = save_model(model, tmp_path / "given", config=config, schema=SCHEMA)
    with pytest.raises(ModelError, match="an explanation needs a network that predicts from"):
        explain(given, records)


def test_the_grid_has_heat_where_the_energy_is_and_a_line_around_the_mask():
    energy, masks = np.zeros((1, 2, 50, 50), "float32"), np.zeros((1, 2, 50, 50), bool)
    energy[0, 0, 20:30, 20:30] = 1
    masks[0, 0, 10:40, 10:40] = True
    inside = {"gradient": np.array([[1.0, np.nan]])}
    images = np.full((1, 50, 50, 3), 100, np.uint8)
    examples = Examples(images, masks, {"gradient": energy}, inside)
    explanation = Explanation({}, ("Mouth", "Whole"), {}, {}, {}, {"network": examples})
    grid = np.asarray(explanation_grid(explanation, "gradient", "title"))
    first, second = grid[70:220, 282:432], grid[70:220, 436:586]  # the cells of the two groups
    red, green, blue = first[75, 75].astype(int)
    assert red > 200 > blue and red > green  # warm in the middle
    assert first[75, 40].tolist() == [75, 75, 75]  # grey within the mask, where no energy is
    assert first[75, 30].tolist() == [0, 235, 255]  # the mask's left side
    assert len(np.unique(second[:120].reshape(-1, 3), axis=0)) == 1  # nothing to show


SMALL = AttributeSchema(
    "small",
    ("Smiling", "Young", "Big_Lips"),
    (Group("Mouth", ("Smiling", "Big_Lips"), ("mouth",)), Group("Whole", ("Young",), ("object",))),
)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 8, 8, 3), np.uint8)


def linear(kernel):
    """A network of one matrix: its gradients by the pixels are the kernel's columns."""
    image = keras.Input((8, 8, 3), name="image")
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(image, {"attributes": head(keras.layers.Flatten()(image))})
    head.set_weights([kernel.reshape(-1, 3)])
    return model


def with_levels(kernels):
    """Levels P1 (8x8) and P2 (4x4) of the pixels as they are; each attribute is linear in them."""
    pixels = keras.Input((8, 8, 3))
    levels = {
        "P1": keras.layers.Rescaling(1.0)(pixels),
        "P2": keras.layers.AveragePooling2D(2)(pixels),
    }
    backbone = keras.Model(pixels, levels, name="backbone")
    image = keras.Input((8, 8, 3), name="image")
    features = backbone(image)
    logits_of = []
    for level, kernel in kernels.items():
        head = keras.layers.Dense(3, use_bias=False)
        logits_of.append(head(keras.layers.Flatten()(features[level])))
        head.set_weights([kernel.reshape(-1, 3)])
    logits = keras.layers.Add()(logits_of) if len(logits_of) > 1 else logits_of[0]
    return keras.Model(image, {"attributes": logits})


def test_the_gradient_energy_of_a_linear_network_is_its_squared_weights():
    kernel = RNG.normal(size=(8, 8, 3, 3)).astype("float32")
    energy = gradient_energy(linear(kernel), SMALL)(IMAGES)
    squared = (kernel**2).sum(axis=2)  # over colours
    expected = np.stack([squared[..., 0] + squared[..., 2], squared[..., 1]])
    np.testing.assert_allclose(energy, np.stack([expected] * 3), rtol=1e-5)  # float32


def test_the_activation_energy_is_the_evidence_of_each_place_and_level():
    kernels = {"P1": RNG.normal(size=(8, 8, 3, 3)), "P2": RNG.normal(size=(4, 4, 3, 3))}
    energy = activation_energy(with_levels(kernels), SMALL)(IMAGES)
    assert energy.shape == (3, 2, 8, 8)
    pixels = IMAGES.astype(float)
    coarse = pixels.reshape(3, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    fine = np.abs(np.einsum("bhwc,hwca->ahwb", pixels, kernels["P1"])).transpose(3, 0, 1, 2)
    small = np.abs(np.einsum("bhwc,hwca->ahwb", coarse, kernels["P2"])).transpose(3, 0, 1, 2)
    # Enlarging keeps each map's sum, but for the edges of bilinear interpolation.
    total = (fine + 0).sum(axis=(2, 3)) + small.sum(axis=(2, 3))
    mouth = total[:, 0] + total[:, 2]
    np.testing.assert_allclose(energy.sum(axis=(2, 3))[:, 0], mouth, rtol=0.15)
    only_fine = activation_energy(with_levels({"P1": kernels["P1"]}), SMALL)(IMAGES)
    np.testing.assert_allclose(only_fine[:, 1], fine[:, 1], rtol=1e-4)


@pytest.mark.parametrize("measure", [gradient_energy, activation_energy])
def test_an_attribute_that_reads_one_region_only_has_all_its_energy_there(measure):
    kernel = np.zeros((8, 8, 3, 3), "float32")
    kernel[5:, 2:6, :, 0] = RNG.normal(size=(3, 4, 3))
    kernel[6, 3, :, 2] = -2.0  # negative evidence counts too
    kernel[..., 1] = RNG.normal(size=(8, 8, 3))
    masks = np.zeros((3, 2, 8, 8), bool)
    masks[:, 0, 5:, 2:6] = masks[:, 1, :, :4] = True
    energy = measure(with_levels({"P1": kernel}), SMALL)(IMAGES)
    inside = proportional_energy(energy, masks)
    np.testing.assert_allclose(inside[:, 0], 1.0, atol=1e-6)
    assert ((inside[:, 1] > 0.3) & (inside[:, 1] < 0.7)).all()  # it reads everything
    elsewhere = proportional_energy(energy, ~masks)
    np.testing.assert_allclose(elsewhere[:, 0], 0.0, atol=1e-6)


def test_images_of_a_batch_do_not_affect_each_other():
    kernel = RNG.normal(size=(8, 8, 3, 3)).astype("float32")
    for measure in (gradient_energy, activation_energy):
        energy = measure(with_levels({"P1": kernel}), SMALL)
        together = energy(IMAGES)
        for n in range(3):
            np.testing.assert_allclose(energy(IMAGES[n : n + 1])[0], together[n], rtol=1e-5)


def test_no_energy_and_no_mask_are_undefined():
    energy = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.ones((4, 4))])
    masks = np.stack([np.ones((4, 4)), np.zeros((4, 4)), np.ones((4, 4))]).astype(bool)
    assert np.isnan(proportional_energy(energy, masks)).tolist() == [True, True, False]


def test_a_network_without_levels_has_no_activation_energy():
    with pytest.raises(ModelError, match="with a layer 'backbone'"):
        activation_energy(linear(np.zeros((8, 8, 3, 3))), SMALL)
