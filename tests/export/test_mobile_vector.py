"""docs/mobile/test_vector.json: what a port is to reproduce, our own code reproduces."""

import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from far_keras.export.litert import load_tflite
from far_keras.faces.alignment import (
    LEFT_EYE,
    RIGHT_EYE,
    align,
    eye_centers,
    eye_similarity,
)
from far_keras.geometry import ALIGNED_EYES as EYES
from far_keras.geometry import ALIGNED_SIZE

FOLDER = Path(__file__).parents[2] / "docs" / "mobile"
VECTOR = json.loads((FOLDER / "test_vector.json").read_text())
TOLERANCE = VECTOR["tolerances"]


def photograph(width, height):
    """The formula of the vector, written down a second time."""
    picture = np.zeros((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            waves = np.array([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 13)])
            picture[y, x] = np.floor(127.5 + 100 * waves + 0.5)
    return picture


def landmarks(eyes):
    points = np.zeros((478, 2))
    points[VECTOR["lids"]["left"]], points[VECTOR["lids"]["right"]] = eyes
    return points


def test_the_frame_is_ours():
    assert VECTOR["frame"] == {
        "width": ALIGNED_SIZE[1],
        "height": ALIGNED_SIZE[0],
        "eyes": [list(eye) for eye in EYES],
    }
    assert VECTOR["lids"] == {"left": list(LEFT_EYE), "right": list(RIGHT_EYE)}


@pytest.mark.parametrize("case", VECTOR["cases"])
def test_a_case(case):
    points = landmarks(case["eyes"])
    np.testing.assert_allclose(eye_centers(points), case["eyes"])
    matrix = eye_similarity(eye_centers(points))
    np.testing.assert_allclose(matrix, case["matrix"], atol=TOLERANCE["matrix"])
    # The closed form that the page and the samples state.
    (lx, ly), (rx, ry) = case["eyes"]
    dx, dy = rx - lx, ry - ly
    a, b = 39 * dx / (dx * dx + dy * dy), -39 * dy / (dx * dx + dy * dy)
    stated = [[a, -b, 69.5 - (a * lx - b * ly)], [b, a, 111 - (b * lx + a * ly)]]
    np.testing.assert_allclose(matrix, stated, atol=1e-9)

    face = align(photograph(case["width"], case["height"]), points).image
    for spot in case["aligned"]:
        apart = np.abs(face[spot["y"], spot["x"]].astype(int) - spot["rgb"])
        assert apart.max() <= TOLERANCE["aligned"]
    model = load_tflite(FOLDER / VECTOR["model"]["file"])
    size = model.description.image_size
    small = np.asarray(Image.fromarray(face).resize((size, size), Image.Resampling.BILINEAR))
    apart = np.abs(small[16].astype(int) - case["input_row_16"])
    assert apart.max() <= TOLERANCE["input"]
    answers = model(small[None])
    for got, expected in (
        (answers["attributes"][0], case["attributes"]),
        (answers["masks"][0, 4], case["mask_row_4"]),
    ):
        np.testing.assert_allclose(got, expected, atol=TOLERANCE["probability_of_case"])


@pytest.mark.parametrize("case", VECTOR["resize"])
def test_resizing(case):
    source = np.array(case["source"], np.uint8)
    size = case["size"]
    expected = np.array(case["resized"])
    ours = np.asarray(Image.fromarray(source).resize((size, size), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(ours, expected)
    # The rule of the page: triangles, first along rows and rounded, then along columns.
    rows = np.floor(triangles(source.shape[1], size) @ source + 0.5)  # (h, size, 3)
    stated = np.floor(np.einsum("yh,hxc->yxc", triangles(source.shape[0], size), rows) + 0.5)
    assert np.abs(stated - expected).max() <= TOLERANCE["resize"]


def triangles(source, target):
    scale = source / target
    support = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centre[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def test_the_model_alone():
    model = load_tflite(FOLDER / VECTOR["model"]["file"])
    assert list(model.description.attributes) == VECTOR["model"]["attributes"]
    x, y = np.meshgrid(np.arange(32), np.arange(32))
    ramp = np.stack([8 * x, 8 * y, 4 * (x + y)], -1).astype(np.uint8)
    answers = model(ramp[None])
    for name in ("attributes", "masks"):
        np.testing.assert_allclose(
            answers[name][0], VECTOR["model_alone"][name], atol=TOLERANCE["probability"]
        )


def test_the_photographs_are_those_of_the_builder():
    path = FOLDER / "build_test_vector.py"
    spec = importlib.util.spec_from_file_location("build_test_vector", path)
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    np.testing.assert_array_equal(builder.photograph(40, 30), photograph(40, 30))
    assert [[list(eye) for eye in eyes] for *_, eyes in builder.PHOTOGRAPHS] == [
        case["eyes"] for case in VECTOR["cases"]
    ]


def test_the_archive_can_be_read_as_the_ios_sample_does():
    """Without a zip library, by the positions that FaceAttributes.swift uses."""
    content = (FOLDER / "tiny.tflite").read_bytes()
    end = content.rindex(b"PK\x05\x06")
    count, position = (
        struct.unpack_from("<H", content, end + 10)[0],
        struct.unpack_from("<I", content, end + 16)[0],
    )
    found = {}
    for _ in range(count):
        assert content[position : position + 4] == b"PK\x01\x02"
        size, name_length = struct.unpack_from("<IH", content, position + 24)
        extra, comment = struct.unpack_from("<HH", content, position + 30)
        name = content[position + 46 : position + 46 + name_length].decode()
        header = struct.unpack_from("<I", content, position + 42)[0]
        start = header + 30 + sum(struct.unpack_from("<HH", content, header + 26))
        found[name] = content[start : start + size]
        position += 46 + name_length + extra + comment
    assert json.loads(found["far_keras.json"])["attributes"] == VECTOR["model"]["attributes"]
