import pytest

from far_keras.errors import ServerError
from far_keras.serving.server.config import VersionPolicy, find_models, read_models_config

CONFIG = """
model_config_list {
  config {
    name: "faces" base_path: "models/faces" model_platform: "tensorflow"
    model_version_policy { specific { versions: 2 versions: 5 } }
    version_labels { key: "stable" value: 2 }
  }
  config {
    name: "all" base_path: "/srv/all" model_platform: "tensorflow"
    model_version_policy { all {} }
  }
  config {
    name: "two" base_path: "/srv/two" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
  }
  config { name: "plain" base_path: "/srv/plain" model_platform: "tensorflow" }
}
"""


def test_the_file_of_tensorflow_serving(tmp_path):
    (tmp_path / "models.config").write_text(CONFIG)
    faces, everything, two, plain = read_models_config(tmp_path / "models.config")
    assert (faces.name, faces.folder) == ("faces", tmp_path / "models" / "faces")
    assert faces.policy == VersionPolicy(latest=None, specific=(2, 5))
    assert faces.labels == {"stable": 2}
    assert everything.policy == VersionPolicy(latest=None)
    assert two.policy == VersionPolicy(latest=2)
    assert plain.policy == VersionPolicy(latest=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_config_list {", "text format"),
        ("custom_model_config {}", "custom_model_config"),
        (CONFIG.replace('"all"', '"faces"'), "'faces' several times"),
        (CONFIG.replace('name: "plain"', ""), "a name for every model"),
        (CONFIG.replace('"tensorflow"', '"caffe"', 1), "Received: 'caffe'"),
        (CONFIG.replace('base_path: "/srv/plain"', ""), "base_path"),
        (CONFIG.replace("versions: 2 versions: 5", ""), "at least one version"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, says):
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(ServerError, match=r"models\.config: ") as refused:
        read_models_config(path)
    assert says in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ServerError, match="No such file"):
        read_models_config(tmp_path / "models.config")


def test_a_folder_of_models_and_a_folder_of_versions(tmp_path):
    for path in ("a/1", "b/2", "notes", ".hidden/1"):
        (tmp_path / path).mkdir(parents=True)
    policy = VersionPolicy()
    assert [one.name for one in find_models(tmp_path, policy)] == ["a", "b"]
    assert [one.name for one in find_models(tmp_path / "b", policy)] == ["b"]


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_without_models(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServerError, match=name):
        find_models(tmp_path / name, VersionPolicy())
