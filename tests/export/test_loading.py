import shutil

import numpy as np
import pytest
import tensorflow as tf

from far_keras.cli import main
from far_keras.errors import ImageError, ModelError
from far_keras.export import export_saved_model, load_saved_model
from far_keras.models.storage import save_model
from far_keras.schema import CELEBA


@pytest.fixture(scope="module")
def version(small_model, tmp_path_factory):
    return export_saved_model(small_model, tmp_path_factory.mktemp("saved_models") / "faces")


@pytest.fixture
def copy(version, tmp_path):
    """A copy of the version, to be damaged."""
    return shutil.copytree(version, tmp_path / "faces" / "1")


def test_a_folder_that_is_not_there_or_holds_no_version(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere: .*Received: nothing of that name"):
        load_saved_model(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="Received: a file"):
        load_saved_model(tmp_path / "file")
    (tmp_path / "latest").mkdir()
    with pytest.raises(ModelError, match=r"folders named 1, 2 and so on\. Received: none"):
        load_saved_model(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 10_000])
def test_a_truncated_graph_is_named(copy, kept):
    content = (copy / "saved_model.pb").read_bytes()
    (copy / "saved_model.pb").write_bytes(content[:kept])
    with pytest.raises(ModelError, match="1: the exported model is incomplete or damaged"):
        load_saved_model(copy.parent)


def test_a_version_without_its_graph_is_named(copy):
    (copy / "saved_model.pb").unlink()
    with pytest.raises(ModelError, match="1: the exported model is incomplete or damaged"):
        load_saved_model(copy.parent)


@pytest.mark.parametrize("content", [None, "", '{"format": 1, "name"', "[]", '{"format": 9}'])
def test_a_description_that_cannot_be_used_is_named(copy, content):
    path = copy / "far_keras.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ModelError, match=r"far_keras\.json: "):
        load_saved_model(copy)


def test_a_saved_model_of_others_is_refused(copy):
    graph = tf.Module()
    graph.answer = tf.function(lambda x: x, input_signature=[tf.TensorSpec((None,))])
    tf.saved_model.save(graph, str(copy), {"serving_default": graph.answer})
    with pytest.raises(ModelError, match="serve_uint8"):
        load_saved_model(copy)


def test_versions_are_numbers_not_texts(copy):
    copy.rename(copy.with_name("10"))
    (copy.parent / "9").mkdir()
    (copy.parent / ".abc.tmp").mkdir()
    loaded = load_saved_model(copy.parent)
    assert (loaded.version, loaded.folder.name) == (10, "10")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((1, 4, 4, 3)), "float64"),
        (np.zeros((4, 4, 3), np.uint8), r"\(4, 4, 3\)"),
        (np.zeros((1, 4, 4, 1), np.uint8), r"\(1, 4, 4, 1\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "not empty"),
        ([], "list of 0"),
        (["photo.jpg"], "as bytes"),
        ("photo.jpg", "str of 9"),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(version, images, said):
    with pytest.raises(ImageError, match=said):
        load_saved_model(version)(images)


def test_the_command_says_what_it_wrote_and_what_comes_next(small_model, tmp_path, capsys):
    folder = save_model(
        small_model.model, tmp_path / "model", config=small_model.config, schema=CELEBA
    )
    target = tmp_path / "saved_models" / "faces"
    for number in (1, 2):
        command = ["export", str(folder), "--to", str(target), "--licence", "CC0-1.0"]
        assert main(command) == 0
        written, following = capsys.readouterr().out.splitlines()
        assert written.startswith(f"wrote {target / str(number)} (")
        assert written.endswith(" MB)")
        assert following == f"Next: far-keras serve {target.parent}"
    assert load_saved_model(target).description.licence == "CC0-1.0"
    assert main(["export", str(tmp_path / "nowhere"), "--to", str(target)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"far-keras export: {tmp_path / 'nowhere'}: expected the folder")
    assert len(error.splitlines()) == 1
