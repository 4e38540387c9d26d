import dataclasses
import json

import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from far_keras.errors import ImageError
from far_keras.faces.alignment import ALIGNED_EYES, eye_centers
from far_keras.faces.detector import FaceDetector
from far_keras.models.storage import LoadedModel, load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.engines.opening import open_engine
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import AttributeSchema, Group

SIZE = 64
SCHEMA = AttributeSchema(
    "colours",
    ("Red", "Green", "Blue", "Reddish"),
    (Group("All", ("Red", "Green", "Blue"), ("object",)), Group("Mouth", ("Reddish",), ("mouth",))),
)
THRESHOLDS = {"Red": 0.5, "Green": 0.99, "Blue": 0.01, "Reddish": 0.5}


def color_model(masks=True, untrained=(), schema=SCHEMA):
    """A network whose answers can be computed by hand: logits are means of the channels / 64."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    means = keras.layers.GlobalAveragePooling2D()(image)
    head = keras.layers.Dense(4, use_bias=False)
    outputs = {"attributes": head(means)}
    head.set_weights([np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]) / 64])
    if masks:
        # The first mask is the red channel above 128, the second is empty.
        conv = keras.layers.Conv2D(2, 1)
        outputs["masks"] = conv(keras.layers.AveragePooling2D(2)(image))
        conv.set_weights([np.array([[[[1.0, 0], [0, 0], [0, 0]]]]), np.array([-128.0, -50.0])])
    return LoadedModel(
        keras.Model(image, outputs),
        schema,
        THRESHOLDS,
        ModelConfig("mgmtn_efficientnetlite0"),
        {"untrained": list(untrained)},
    )


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def recognizer():
    with Recognizer.load(color_model()) as recognizer:
        yield recognizer


def test_a_face_is_found_aligned_and_answered(recognizer, astronaut):
    result = recognizer(astronaut)
    assert (result.status, result.ok, result.size) == ("ok", True, (512, 512))
    (face,) = result.faces
    left, top, right, bottom = face.box
    assert 130 < left < 200 < right < 290 and 30 < top < 120 < bottom < 200
    # The matrix takes the eyes to CelebA's frame.
    eyes = np.column_stack([eye_centers(face.landmarks), np.ones(2)]) @ face.matrix.T
    np.testing.assert_allclose(
        eyes, ALIGNED_EYES, atol=0.01
    )  # landmarks are float32 of some hundred
    # The answers are those of the aligned image, squashed to the network's size.
    shrunk = Image.fromarray(face.aligned).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    means = np.asarray(shrunk, float).mean(axis=(0, 1))
    expected = 1 / (1 + np.exp(-means / 64))
    np.testing.assert_allclose(
        [face.probabilities[c] for c in ("Red", "Green", "Blue")], expected, atol=1e-5
    )
    # The mouth's mask is empty, so that what rests on it cannot be seen.
    assert face.decisions == {"Red": True, "Green": False, "Blue": True, "Reddish": None}
    assert face.group_of["Reddish"] == "Mouth" and face.not_visible == ("Mouth",)


def test_masks_cover_what_the_network_saw(recognizer, astronaut):
    (face,) = recognizer(astronaut).faces
    assert face.masks.shape == (2, SIZE // 2, SIZE // 2)
    assert face.groups == ("All", "Mouth")
    shrunk = Image.fromarray(face.aligned).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    red = np.asarray(shrunk, float)[..., 0].reshape(SIZE // 2, 2, SIZE // 2, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(face.masks[0] > 0.5, red > 128)
    assert face.masks[1].max() < 1e-6


def test_the_pipeline_trains_on_the_same_pixels_that_are_answered(astronaut):
    from far_keras.tf_images import resize_images

    aligned = astronaut[:218, 100:278]
    trained = np.round(np.clip(resize_images(aligned, SIZE).numpy(), 0, 255))
    answered = Image.fromarray(aligned).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    assert np.abs(trained - np.asarray(answered, float)).max() <= 1  # rounding


def test_a_batch_equals_single_pictures_and_keeps_the_order(recognizer, astronaut):
    dark = (astronaut * 0.6).astype(np.uint8)
    nobody = np.full((300, 300, 3), 127, np.uint8)
    both = np.concatenate([astronaut[:, :400], astronaut[:, 90:]], axis=1)
    pictures = [astronaut, nobody, dark, both]
    results = recognizer(iter(pictures))
    assert [len(r.faces) for r in results] == [1, 0, 1, 2]
    assert [r.file for r in results] == [f"image {k}" for k in range(4)]
    for result, picture in zip(results, pictures, strict=True):
        single = recognizer(picture)
        assert single.status == result.status
        for one, other in zip(single.faces, result.faces, strict=True):
            np.testing.assert_allclose(
                list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-6
            )


def test_a_smaller_batch_size_changes_nothing(recognizer, astronaut):
    pictures = [astronaut, (astronaut * 0.7).astype(np.uint8), astronaut[:, ::-1]]
    expected = recognizer(pictures)
    with Recognizer(recognizer.engine, batch_size=1) as careful:
        for one, other in zip(careful(pictures), expected, strict=True):
            assert one.faces[0].probabilities == pytest.approx(
                other.faces[0].probabilities, abs=1e-6
            )


def test_one_bad_picture_is_noted_and_the_others_answered(recognizer, astronaut, tmp_path):
    good = tmp_path / "good.png"
    Image.fromarray(astronaut).save(good)
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(good.read_bytes()[:5000])
    bad = [text, truncated, tmp_path / "none.jpg", b"", np.zeros((2, 2, 7), np.uint8), None]
    results = recognizer([*bad, good, np.zeros((1, 1, 3), np.uint8)])
    for result in results[: len(bad)]:
        assert result.status.startswith("unreadable: ") and not result.faces
        assert result.size is None
    assert results[0].file == str(text) and "another kind" in results[0].status
    assert results[-2].status == "ok" and results[-2].file == str(good)
    assert results[-1].status == "no face"


def test_strict_raises_on_a_bad_picture(recognizer, astronaut, tmp_path):
    with pytest.raises(ImageError, match=r"none\.jpg"):
        recognizer([astronaut, tmp_path / "none.jpg"], strict=True)
    with pytest.raises(ImageError, match=r"none\.jpg"):
        recognizer(str(tmp_path / "none.jpg"), strict=True)


def test_a_stream_does_not_wait_for_its_end(recognizer, astronaut):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield astronaut[:300]

    stream = recognizer.stream(endless())
    assert next(stream).ok
    assert len(taken) <= recognizer.batch_size


def test_pillow_images_folders_and_generators_are_answered_alike(recognizer, astronaut, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "b.png")
    Image.fromarray(astronaut[:, ::-1]).save(tmp_path / "a.png")
    expected = recognizer(astronaut).faces[0].probabilities
    with Image.open(tmp_path / "b.png") as opened:
        assert recognizer(opened).faces[0].probabilities == pytest.approx(expected, abs=1e-6)
    in_folder = recognizer(tmp_path)
    assert [result.file for result in in_folder] == [str(tmp_path / n) for n in ("a.png", "b.png")]
    assert in_folder[1].faces[0].probabilities == pytest.approx(expected, abs=1e-6)
    generated = recognizer(picture for picture in [astronaut, None, astronaut])
    assert [result.status.partition(":")[0] for result in generated] == ["ok", "unreadable", "ok"]


def test_what_is_no_pictures_at_all_is_refused(recognizer, tmp_path):
    with pytest.raises(ImageError, match="expected images"):
        recognizer(tmp_path)
    with pytest.raises(ImageError, match="images: expected an image, a folder or an iterable"):
        recognizer(7)
    with (
        (tmp_path / "photo.jpg").open("w+b") as file,
        pytest.raises(
            ImageError, match="Received: an object of type BufferedRandom; give its path"
        ),
    ):
        recognizer(file)


@pytest.mark.parametrize("path", ["", "a" * 5000, "\0", "none.jpg"])
def test_impossible_paths_are_noted(recognizer, path):
    # Not the images of the current folder.
    assert recognizer(path).status.startswith("unreadable: ")


def test_a_picture_that_breaks_the_detector_is_noted(astronaut):
    class Fragile(FaceDetector):
        def find(self, image):
            if image.shape[0] == 7:
                raise RuntimeError("seven")
            return super().find(image)

    with Recognizer(open_engine(color_model()), Fragile()) as recognizer:
        strange = np.zeros((7, 9, 3), np.uint8)
        results = recognizer([strange, astronaut])
        assert [result.status for result in results] == ["failed: RuntimeError: seven", "ok"]
        with pytest.raises(RuntimeError, match="seven"):
            recognizer([strange], strict=True)
    with pytest.raises(ValueError, match="closed"):
        recognizer(astronaut)


def test_no_pictures_give_no_results(recognizer):
    assert recognizer([]) == []


def test_results_become_json(recognizer, astronaut):
    data = json.loads(json.dumps(recognizer(astronaut).to_dict()))
    assert data["file"] == "image 0" and data["status"] == "ok" and data["size"] == [512, 512]
    (face,) = data["faces"]
    assert face["attributes"]["Blue"]["decision"] is True
    assert 0 <= face["attributes"]["Blue"]["probability"] <= 1
    assert face["mask_areas"]["Mouth"] == 0
    assert len(face["box"]) == 4 and np.shape(face["matrix"]) == (2, 3)


def test_a_model_without_masks(astronaut):
    with Recognizer.load(color_model(masks=False)) as recognizer:
        (face,) = recognizer(astronaut).faces
        assert face.masks is None and face.groups == ()
        assert "mask_areas" not in face.to_dict()
        assert recognizer.annotate(astronaut).size > astronaut.size


def test_what_was_never_taught_is_not_answered(astronaut):
    with Recognizer.load(color_model(untrained=["Green"])) as recognizer:
        result = recognizer(astronaut)
    (face,) = result.faces
    assert list(face.probabilities) == ["Red", "Blue", "Reddish"]
    assert list(face.decisions) == list(face.thresholds) == list(face.probabilities)
    assert "Green" not in result.to_dict()["faces"][0]["attributes"]


def test_sensitive_attributes_are_left_out_unless_asked_for(astronaut):
    schema = dataclasses.replace(SCHEMA, sensitive=("Red", "Green"))
    model = color_model(schema=schema, untrained=["Green"])
    with Recognizer.load(model) as recognizer:
        assert recognizer.attributes == ("Blue", "Reddish")
        # What was not taught is said to be so, however sensitive.
        assert (recognizer.untrained, recognizer.left_out) == (("Green",), ("Red",))
        (face,) = recognizer(astronaut).faces
        everywhere = [face.probabilities, face.decisions, face.thresholds]
        assert all(list(answers) == ["Blue", "Reddish"] for answers in everywhere)
        assert "Red" not in face.to_dict()["attributes"]
    with Recognizer.load(model, sensitive=True) as recognizer:
        (frank,) = recognizer(astronaut).faces
        assert recognizer.left_out == () and list(frank.decisions) == ["Red", "Blue", "Reddish"]
    assert frank.probabilities["Blue"] == face.probabilities["Blue"]


def test_certainty_is_one_half_at_the_threshold(recognizer, astronaut):
    (face,) = recognizer(astronaut).faces
    for name, decision in face.decisions.items():
        if decision is not None:
            assert (face.certainty(name) >= 0.5) == decision
    # Red's threshold is one half, which moves nothing.
    assert face.certainty("Red") == pytest.approx(face.probabilities["Red"], abs=1e-9)
    p, t = face.probabilities["Blue"], 0.01
    expected = p * (1 - t) / (p * (1 - t) + (1 - p) * t)
    assert face.certainty("Blue") == pytest.approx(expected, abs=1e-9)


def test_a_saved_network_answers_all_attributes_of_its_schema(tmp_path, astronaut):
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": 64})
    save_model(
        build_model(config, SCHEMA), tmp_path / "model", config=config, schema=SCHEMA,
        thresholds=THRESHOLDS,
    )  # fmt: skip
    with Recognizer.load(tmp_path / "model") as recognizer:
        (face,) = recognizer(astronaut).faces
    assert tuple(face.probabilities) == SCHEMA.attributes
    loaded = load_model(tmp_path / "model")
    picture = Image.fromarray(face.aligned).resize((64, 64), Image.Resampling.BILINEAR)
    logits = loaded.model.predict_on_batch(np.asarray(picture, np.float32)[None])["attributes"]
    expected = 1 / (1 + np.exp(-logits[0]))
    # Float32 convolutions in another order of summation.
    np.testing.assert_allclose(list(face.probabilities.values()), expected, atol=1e-5)


def test_without_a_model_the_one_that_comes_with_the_package_answers():
    with Recognizer() as plain, Recognizer.load() as loaded:
        assert plain.engine.description.name == "mgmtn_efficientnetlite0"
        (face,) = plain(skimage.data.astronaut()).faces
        assert loaded(skimage.data.astronaut()).faces[0].probabilities == face.probabilities
    assert "Smiling" in face.decisions and "Male" not in face.decisions
