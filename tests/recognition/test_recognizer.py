import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from far_keras.errors import ImageError
from far_keras.faces.alignment import ALIGNED_EYES, eye_centers
from far_keras.faces.detector import FaceDetector
from far_keras.images import resize_image
from far_keras.models.storage import LoadedModel, load_model, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.engines import open_engine
from far_keras.recognition.recognizer import Recognizer
from far_keras.recognition.results import DECIDED_UNSEEN, unseen_groups
from far_keras.schema import CELEBA, AttributeSchema, Group

SIZE = 64
SCHEMA = AttributeSchema(
    "colours",
    ("Red", "Green", "Blue", "Reddish"),
    (Group("All", ("Red", "Green", "Blue"), ("object",)), Group("Mouth", ("Reddish",), ("mouth",))),
)
THRESHOLDS = {"Red": 0.5, "Green": 0.99, "Blue": 0.01, "Reddish": 0.5}


def color_model(masks=True, untrained=(), schema=SCHEMA):
    """A network with predictable outputs: logits are means of the channels / 64."""
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


def test_a_face_is_found_aligned_and_predicted(recognizer, astronaut):
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
    # The predictions are those of the aligned image, squashed to the network's size.
    means = resize_image(face.aligned, SIZE).astype(float).mean(axis=(0, 1))
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
    red = (
        resize_image(face.aligned, SIZE)
        .astype(float)[..., 0]
        .reshape(SIZE // 2, 2, SIZE // 2, 2)
        .mean(axis=(1, 3))
    )
    np.testing.assert_array_equal(face.masks[0] > 0.5, red > 128)
    assert face.masks[1].max() < 1e-6


def test_training_and_prediction_resize_alike(astronaut):
    from far_keras.tf_images import resize_images

    aligned = astronaut[:218, 100:278]
    trained = np.round(np.clip(resize_images(aligned, SIZE).numpy(), 0, 255))
    assert np.abs(trained - resize_image(aligned, SIZE).astype(float)).max() <= 1  # rounding


def test_a_batch_equals_single_images_and_keeps_the_order(recognizer, astronaut):
    dark = (astronaut * 0.6).astype(np.uint8)
    nobody = np.full((300, 300, 3), 127, np.uint8)
    both = np.concatenate([astronaut[:, :400], astronaut[:, 90:]], axis=1)
    images = [astronaut, nobody, dark, both]
    results = recognizer(iter(images))
    assert [len(r.faces) for r in results] == [1, 0, 1, 2]
    assert [r.file for r in results] == [f"image {k}" for k in range(4)]
    for result, image in zip(results, images, strict=True):
        single = recognizer(image)
        assert single.status == result.status
        for one, other in zip(single.faces, result.faces, strict=True):
            np.testing.assert_allclose(
                list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-6
            )


def test_a_smaller_batch_size_changes_nothing(recognizer, astronaut):
    images = [astronaut, (astronaut * 0.7).astype(np.uint8), astronaut[:, ::-1]]
    expected = recognizer(images)
    with Recognizer(recognizer.engine, batch_size=1) as careful:
        for one, other in zip(careful(images), expected, strict=True):
            assert one.faces[0].probabilities == pytest.approx(
                other.faces[0].probabilities, abs=1e-6
            )


def test_one_unreadable_image_does_not_stop_the_others(recognizer, astronaut, tmp_path):
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


def test_strict_raises_on_an_unreadable_image(recognizer, astronaut, tmp_path):
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

    careful = Recognizer(recognizer.engine, recognizer.detector, batch_size=3)
    assert next(careful.stream(endless())).ok
    assert len(taken) <= careful.batch_size


def test_pillow_images_folders_and_generators_are_predicted_alike(recognizer, astronaut, tmp_path):
    Image.fromarray(astronaut).save(tmp_path / "b.png")
    Image.fromarray(astronaut[:, ::-1]).save(tmp_path / "a.png")
    expected = recognizer(astronaut).faces[0].probabilities
    with Image.open(tmp_path / "b.png") as opened:
        assert recognizer(opened).faces[0].probabilities == pytest.approx(expected, abs=1e-6)
    in_folder = recognizer(tmp_path)
    assert [result.file for result in in_folder] == [str(tmp_path / n) for n in ("a.png", "b.png")]
    assert in_folder[1].faces[0].probabilities == pytest.approx(expected, abs=1e-6)
    generated = recognizer(image for image in [astronaut, None, astronaut])
    assert [result.status.partition(":")[0] for result in generated] == ["ok", "unreadable", "ok"]


def test_other_inputs_are_refused(recognizer, tmp_path):
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
def test_impossible_paths_get_a_status(recognizer, path):
    # Not the images of the current folder.
    assert recognizer(path).status.startswith("unreadable: ")


def test_an_image_that_breaks_the_detector_gets_a_status(astronaut):
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


def test_no_images_give_no_results(recognizer):
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


def test_untrained_attributes_are_left_out(astronaut):
    with Recognizer.load(color_model(untrained=["Green"])) as recognizer:
        result = recognizer(astronaut)
    (face,) = result.faces
    assert list(face.probabilities) == ["Red", "Blue", "Reddish"]
    assert list(face.decisions) == list(face.thresholds) == list(face.probabilities)
    assert "Green" not in result.to_dict()["faces"][0]["attributes"]


def test_sensitive_attributes_are_left_out_unless_requested(astronaut):
    schema = dataclasses.replace(SCHEMA, sensitive=("Red", "Green"))
    model = color_model(schema=schema, untrained=["Green"])
    with Recognizer.load(model) as recognizer:
        assert recognizer.attributes == ("Blue", "Reddish")
        # An attribute that is untrained and sensitive counts as untrained.
        assert (recognizer.untrained, recognizer.left_out) == (("Green",), ("Red",))
        (face,) = recognizer(astronaut).faces
        everywhere = [face.probabilities, face.decisions, face.thresholds]
        assert all(list(values) == ["Blue", "Reddish"] for values in everywhere)
        assert "Red" not in face.to_dict()["attributes"]
    with Recognizer.load(model, sensitive=True) as recognizer:
        (full,) = recognizer(astronaut).faces
        assert recognizer.left_out == () and list(full.decisions) == ["Red", "Blue", "Reddish"]
    assert full.probabilities["Blue"] == face.probabilities["Blue"]


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


@pytest.mark.slow
def test_a_saved_network_predicts_all_attributes_of_its_schema(tmp_path, astronaut):
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": 64})
    save_model(
        build_model(config, SCHEMA), tmp_path / "model", config=config, schema=SCHEMA,
        thresholds=THRESHOLDS,
    )  # fmt: skip
    with Recognizer.load(tmp_path / "model") as recognizer:
        (face,) = recognizer(astronaut).faces
    assert tuple(face.probabilities) == SCHEMA.attributes
    loaded = load_model(tmp_path / "model")
    image = resize_image(face.aligned, 64).astype(np.float32)
    logits = loaded.model.predict_on_batch(image[None])["attributes"]
    expected = 1 / (1 + np.exp(-logits[0]))
    # Float32 convolutions in another order of summation.
    np.testing.assert_allclose(list(face.probabilities.values()), expected, atol=1e-5)


def test_without_a_model_the_one_that_comes_with_the_package_is_used():
    with Recognizer() as plain, Recognizer.load() as loaded:
        assert plain.engine.description.name == "mgmtn_efficientnetlite0"
        (face,) = plain(skimage.data.astronaut()).faces
        assert loaded(skimage.data.astronaut()).faces[0].probabilities == face.probabilities
    assert "Smiling" in face.decisions and "Male" not in face.decisions


# What can be decided


def masks_with(cells, size=32):
    """Masks (G, size, size), each with that number of cells just inside."""
    masks = np.full((len(cells), size, size), 0.49, np.float32)
    for mask, count in zip(masks, cells, strict=True):
        mask.ravel()[:count] = 0.5
    return masks


class SeesOnly:
    """The engine of a model, with masks that are full for some groups and empty for the others."""

    def __init__(self, model, groups):
        self.engine = open_engine(model)
        self.description = self.engine.description
        self.seen = [CELEBA.group_names.index(name) for name in groups]

    def __call__(self, images):
        predictions = self.engine(images)
        predictions.masks[...] = 0
        predictions.masks[..., self.seen] = 1
        return predictions

    def close(self):
        pass


def test_a_mask_of_fewer_than_three_cells_of_32_by_32_is_empty():
    groups = ("none", "two", "three", "all")
    assert unseen_groups(masks_with([0, 2, 3, 1024]), groups) == ("none", "two")


def test_the_rule_follows_the_area_not_the_resolution():
    assert unseen_groups(masks_with([10], size=64), ("Ear",)) == ("Ear",)
    assert unseen_groups(masks_with([11], size=64), ("Ear",)) == ()
    assert unseen_groups(masks_with([1], size=16), ("Ear",)) == ()


def predict(engine, face, **settings):
    with Recognizer(engine, sensitive=True, **settings) as recognizer:
        return recognizer.predict_faces([face])


@pytest.mark.parametrize("seen", [None, "Nose"])
def test_what_absence_means_is_decided_if_any_group_is_visible(tflite, found_face, seen):
    """All masks are empty, or all but one."""
    seen_groups = () if seen is None else (seen,)
    (face,) = predict(SeesOnly(tflite, seen_groups), found_face)
    assert face.not_visible == tuple(name for name in CELEBA.group_names if name != seen)
    decided = {name for name, decision in face.decisions.items() if decision is not None}
    of_nose = {name for name in face.decisions if face.group_of[name] == "Nose"}
    assert decided == (set() if seen is None else of_nose | DECIDED_UNSEEN)
    assert set(face.probabilities) == {*CELEBA.attributes} - {"Attractive"}  # untrained


def test_nothing_is_decided_about_a_child_unless_children_are_requested(tflite, child, found_face):
    engine = open_engine(tflite)
    (adult,) = predict(engine, found_face)
    assert 0 <= adult.childlike < 0.5 and not adult.is_child
    assert None not in {adult.decisions[name] for name in DECIDED_UNSEEN}

    (refused,) = predict(engine, child)
    assert refused.childlike > 0.5 and refused.is_child
    assert set(refused.decisions.values()) == {None}
    assert refused.probabilities == adult.probabilities  # the image is the same
    assert refused.to_dict()["childlike"] == round(refused.childlike, 4)

    (decided,) = predict(engine, child, children=True)
    assert decided.childlike is None and not decided.is_child
    assert decided.decisions == adult.decisions
    assert "childlike" not in decided.to_dict()


def test_proportions_are_ignored_where_the_mouth_is_not_visible(tflite, child):
    seen = [name for name in CELEBA.group_names if name != "Mouth"]
    (face,) = predict(SeesOnly(tflite, seen), child)
    assert face.not_visible == ("Mouth",) and face.childlike is None
    assert face.decisions["Black_Hair"] is not None and face.decisions["Smiling"] is None


def test_threads_share_a_recognizer():
    """With the packaged model, which LiteRT runs; each call must get its own image's result."""
    photograph = skimage.data.astronaut()
    images = [np.ascontiguousarray(np.roll(photograph, 7 * n, axis=1)) for n in range(6)] * 4
    with Recognizer() as recognizer:
        expected = [recognizer(image) for image in images[:6]] * 4
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(recognizer, images))
    for result, other in zip(results, expected, strict=True):
        assert result.status == "ok"
        np.testing.assert_array_equal(result.faces[0].box, other.faces[0].box)
        assert result.faces[0].probabilities == other.faces[0].probabilities
