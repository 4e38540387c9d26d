import pytest

from far_keras.cli import main
from far_keras.export.tflite import rendered_images
from far_keras.export.tflite_file import read_metadata


def test_rendered_images_are_faces_of_the_size_and_range_of_training():
    first, second = rendered_images(64, 2)
    assert first.shape == (64, 64, 3) and first.dtype == "float32"
    assert 0 <= first.min() < 60 and 180 < first.max() <= 255
    assert abs(first - second).mean() > 5


@pytest.mark.slow
def test_without_a_model_the_one_that_comes_with_the_package_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["export"]) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "saved_models" / "mgmtn_efficientnetlite0"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "tflite"]
    assert (folder / "1" / "saved_model.pb").exists() and "far-keras serve saved_models" in said
    files = sorted((folder / "tflite").glob("*.tflite"))
    assert len(files) == 4
    (int8,) = (path for path in files if path.stem.endswith("int8"))
    _, facts, _ = read_metadata(int8)
    assert facts["calibrated_on"] == {"images": 200, "from": "rendered faces"}
