"""The .tflite files of a model, in four precisions."""

import numpy as np
import pytest

from far_keras.cli import main
from far_keras.errors import ModelError
from far_keras.export.litert import load_tflite
from far_keras.export.tflite import PRECISIONS, export_tflite, rendered_images
from far_keras.export.tflite_file import operations, read_metadata
from far_keras.models.storage import compile_forward


def probabilities(loaded, images):
    """The network's probabilities by Keras."""
    outputs = compile_forward(loaded.model)(images)
    answers = {
        "attributes": loaded.calibration.probabilities(
            outputs["attributes"], loaded.schema.attributes
        )
    }
    if "masks" in outputs:
        answers["masks"] = 0.5 * (1 + np.tanh(0.5 * outputs["masks"]))
    return answers


def pieces(file):
    """How many parts of a file XNNPACK computes: 1 if nothing in between goes to slow kernels."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    return [op["op_name"] for op in interpreter._get_ops_details()].count("DELEGATE")


@pytest.fixture(scope="module")
def loaded(small_model):
    return small_model


@pytest.fixture(scope="module")
def files(loaded, make_images, tmp_path_factory):
    return export_tflite(
        loaded,
        tmp_path_factory.mktemp("phone"),
        "small",
        images=make_images(8, 64, seed=1),
        images_from="test",
    )


def test_there_is_a_file_for_each_precision(files):
    assert list(files) == list(PRECISIONS)
    assert [path.name for path in files.values()] == [
        f"small-{precision}.tflite" for precision in PRECISIONS
    ]


# float16 keeps 11 bits of a weight, int8 at most 8, of activations too.
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 2e-6), ("float16", 2e-3), ("dynamic", 0.02), ("int8", 0.03)],
)
def test_outputs_equal_those_of_keras(loaded, files, make_images, precision, tolerance):
    images = make_images(6, 64)
    expected = probabilities(loaded, images)
    assert expected["attributes"].std(axis=0).mean() > 0.05  # the images are told apart
    answers = load_tflite(files[precision])(images)
    assert list(answers) == ["attributes", "masks"]
    for name, values in expected.items():
        assert answers[name].shape == values.shape
        assert answers[name].dtype == np.float32
        assert np.abs(answers[name] - values).mean() < tolerance


def test_smaller_precisions_give_smaller_files(files):
    sizes = [files[precision].stat().st_size for precision in PRECISIONS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.7 * sizes[1]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_operations_of_the_runtime_are_used(files, precision):
    found = operations(files[precision].read_bytes())
    assert found["CUSTOM"] == 0
    assert found["CONV_2D"] >= 13
    # Folded into the convolutions: no variable is read, no statistic is left.
    assert not found.keys() & {"READ_VARIABLE", "RSQRT", "TRANSPOSE_CONV", "WHILE", "GATHER"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_input_is_one_image(files, precision):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files[precision]))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["attributes", "masks"]}
    }
    (entry,) = interpreter.get_input_details()
    assert entry["shape"].tolist() == [1, 64, 64, 3]
    if precision == "int8":  # pixels are what they are: steps of 1 from 0 on
        assert entry["dtype"] == np.uint8
        assert entry["quantization"] == (1.0, 0)
    else:
        assert entry["dtype"] == np.float32


def test_equal_models_give_equal_files(loaded, files, tmp_path):
    again = export_tflite(loaded, tmp_path, "small", precisions=["float16"])
    assert again["float16"].read_bytes() == files["float16"].read_bytes()


def test_int8_needs_images(loaded, tmp_path):
    with pytest.raises(ModelError, match=r"images: expected training images for .* int8"):
        export_tflite(loaded, tmp_path, "small")
    assert not list(tmp_path.iterdir())


def test_unknown_precision(loaded, tmp_path):
    with pytest.raises(ModelError, match=r"precisions: .*Received: \['int4'\]"):
        export_tflite(loaded, tmp_path, "small", precisions=["int4"])


@pytest.mark.parametrize(
    "variant",
    [
        "baseline_mobilenetv3small",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "mgmtn_efficientnetlite0",
                "mgmtn_mobilenetv3small",
                "baseline_efficientnetlite0",
                "mgmtn_resnest50",  # their baselines are parts of them
                "mgmtn_resnet50",
            )
        ),
    ],
)
def test_every_variant_converts(variant, random_model, make_images, tmp_path):
    loaded = random_model(variant)
    size = loaded.image_size
    files = export_tflite(
        loaded, tmp_path, precisions=["float32", "int8"], images=make_images(4, size, seed=1)
    )
    images = make_images(2, size)
    expected = probabilities(loaded, images)
    for precision, tolerance in (("float32", 1e-4), ("int8", 0.2)):
        assert operations(files[precision].read_bytes())["CUSTOM"] == 0
        if "resn" not in variant:  # those for phones; split attention falls into several
            assert pieces(files[precision]) == 1
        answers = load_tflite(files[precision])(images)
        assert answers.keys() == expected.keys()
        for name, values in expected.items():
            assert np.abs(answers[name] - values).mean() < tolerance


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_fast_path_computes_it_in_one_piece(files, precision):
    assert pieces(files[precision]) == 1


@pytest.mark.slow
def test_rendered_images_are_faces_of_the_size_and_range_of_training():
    first, second = rendered_images(64, 2)
    assert first.shape == (64, 64, 3) and first.dtype == "float32"
    assert 0 <= first.min() < 60 and 180 < first.max() <= 255
    assert abs(first - second).mean() > 5


@pytest.mark.slow
def test_the_default_is_the_packaged_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("far_keras.export.tflite.CALIBRATION_IMAGES", 12)  # of 200: to save time
    assert main(["export"]) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "saved_models" / "mgmtn_efficientnetlite0"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "tflite"]
    assert (folder / "1" / "saved_model.pb").exists() and "far-keras serve saved_models" in said
    files = sorted((folder / "tflite").glob("*.tflite"))
    assert len(files) == 4
    (int8,) = (path for path in files if path.stem.endswith("int8"))
    _, facts, _ = read_metadata(int8)
    assert facts["calibrated_on"] == {"images": 12, "from": "rendered faces"}
