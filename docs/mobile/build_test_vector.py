"""Builds the test vector of docs/mobile.md: test_vector.json and tiny.tflite in this folder.

python docs/mobile/build_test_vector.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import keras
import numpy as np

from far_keras.calibration import Calibration
from far_keras.export.litert import load_tflite
from far_keras.export.tflite import export_tflite
from far_keras.faces.alignment import LEFT_EYE, RIGHT_EYE, align
from far_keras.geometry import ALIGNED_EYES, ALIGNED_SIZE
from far_keras.images import resize_image
from far_keras.models.backbones import BACKBONES
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import AttributeSchema, Group

HERE = Path(__file__).parent
SIZE = 32  # of the tiny network's input
PHOTOGRAPHS = (
    # width, height, and the centres of the eyes: upright, tilted, large and leaning far
    (200, 240, ((80.0, 118.0), (124.5, 118.0))),
    (160, 150, ((60.25, 70.5), (92.75, 83.0))),
    (640, 480, ((420.0, 300.0), (300.0, 180.0))),
)
POSITIONS = ((89, 109), (0, 0), (177, 217), (69, 111), (108, 111), (30, 200), (150, 20), (89, 60))


def photograph(width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3): the formula that the test vector states."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 13)], -1)
    return np.floor(127.5 + 100 * waves + 0.5).astype(np.uint8)


def landmarks_of(eyes: tuple) -> np.ndarray:
    """478 points of which the lids' all lie at the eyes' centres."""
    points = np.zeros((478, 2))
    for centre, lids in zip(eyes, (LEFT_EYE, RIGHT_EYE), strict=True):
        points[list(lids)] = centre
    return points


def tiny_backbone(pixels):
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    levels = {}
    for n in range(1, 6):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(x)
        x = keras.layers.Activation("relu6", name=f"level_{n}")(x)
        levels[f"P{n}"] = f"level_{n}"
    network = keras.Model(pixels, x, name="tiny")
    network.pyramid_level_inputs = levels
    return network


def tiny_model() -> LoadedModel:
    schema = AttributeSchema(
        "tiny",
        ("Smiling", "Bald", "Young"),
        (
            Group("Mouth", ("Smiling",), ("mouth",)),
            Group("Hair", ("Bald",), ("hair",)),
            Group("Object", ("Young",), ("object",)),
        ),
    )
    BACKBONES["tiny"] = tiny_backbone
    VARIANTS["tiny"] = ("mgmtn", "tiny")
    config = ModelConfig("tiny", {"image_size": SIZE, "mask_filters": 8, "fusion_units": 4})
    model = build_model(config, schema)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        scale = 1.6 / math.sqrt(max(1, math.prod(weight.shape[:-1])))
        weight.assign(rng.normal(0, scale, weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(np.ones(layer.gamma.shape))
    return LoadedModel(
        model,
        schema,
        {"Smiling": 0.4, "Bald": 0.5, "Young": 0.6},
        config,
        {"note": "random weights: to check a port with, not to use"},
        Calibration({"Smiling": (0.8, 0.2)}),
    )


def main() -> None:
    written = export_tflite(tiny_model(), HERE, "tiny", precisions=["float32"])["float32"]
    file = written.rename(HERE / "tiny.tflite")
    model = load_tflite(file)
    cases = []
    for width, height, eyes in PHOTOGRAPHS:
        face = align(photograph(width, height), landmarks_of(eyes))
        small = resize_image(face.image, SIZE)
        results = model(small[None])
        cases.append(
            {
                "width": width,
                "height": height,
                "eyes": eyes,
                "matrix": face.matrix.tolist(),
                "aligned": [
                    {"x": x, "y": y, "rgb": face.image[y, x].tolist()} for x, y in POSITIONS
                ],
                "input_row_16": small[16].tolist(),
                "attributes": results["attributes"][0].tolist(),
                "mask_row_4": results["masks"][0, 4].tolist(),
            }
        )
    source = np.random.default_rng(1).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    vector = {
        "frame": {"width": ALIGNED_SIZE[1], "height": ALIGNED_SIZE[0], "eyes": ALIGNED_EYES},
        "lids": {"left": LEFT_EYE, "right": RIGHT_EYE},
        "photograph": "pixel (x, y): r = floor(127.5 + 100 sin(x / 9) + 0.5), "
        "g = floor(127.5 + 100 cos(y / 7) + 0.5), b = floor(127.5 + 100 sin((x + y) / 13) + 0.5)",
        "tolerances": {
            "matrix": 1e-6,
            "aligned": 3,
            "input": 3,
            "resize": 1,
            "probability": 1e-4,
            "probability_of_case": 0.02,
        },
        "resize": [
            {
                "size": size,
                "source": source.tolist(),
                "resized": resize_image(source, size).tolist(),
            }
            for size in (3, 8)
        ],
        "model": {
            "file": file.name,
            "schema": "tiny",
            "attributes": list(model.description.attributes),
        },
        "cases": cases,
        "model_alone": {
            "pixels": "pixel (x, y): r = 8 x, g = 8 y, b = 4 (x + y)",
            **{key: value[0].tolist() for key, value in model(ramp()).items()},
        },
    }
    text = json.dumps(vector, indent=None, separators=(",", ":"))
    (HERE / "test_vector.json").write_text(text + "\n", encoding="utf-8")


def ramp() -> np.ndarray:
    """uint8 (1, 32, 32, 3), which needs no alignment to make."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    return np.stack([8 * x, 8 * y, 4 * (x + y)], -1).astype(np.uint8)[None]


if __name__ == "__main__":
    main()
