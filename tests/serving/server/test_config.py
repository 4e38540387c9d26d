import pytest

from far_keras.errors import ServerError
from far_keras.serving.server import Limits, ServerConfig, TlsFiles, VersionPolicy
from far_keras.serving.server.config import find_models, read_models_config, server_credentials

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


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("latest", [9]), ("latest:2", [4, 9]), ("all", [1, 4, 9]), ("1,4,7", [1, 4])],
)
def test_policies(text, chosen):
    assert VersionPolicy.parse(text).choose({9, 1, 4}) == chosen


@pytest.mark.parametrize("text", ["", "newest", "latest:0", "latest:x", "1,x"])
def test_a_policy_that_is_none(text):
    with pytest.raises(ServerError, match="expected latest"):
        VersionPolicy.parse(text)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": 70000}, "port: expected 0 to 65535"),
        ({"poll_seconds": -1}, "poll_seconds"),
        ({"max_queue": -1}, "max_queue"),
        ({"parallel_runs": 0}, "parallel_runs"),
        ({"limits": Limits(max_batch=0)}, "max_batch"),
        ({"models_config": "file"}, "either a folder of models or"),
    ],
)
def test_settings_out_of_range(tmp_path, settings, says):
    with pytest.raises(ServerError, match=says):
        ServerConfig(**({"models": tmp_path} | settings))


@pytest.mark.parametrize(
    ("host", "is_exposed"),
    [
        ("127.0.0.1", False),
        ("127.3.2.1", False),
        ("localhost", False),
        ("[::1]", False),
        ("0.0.0.0", True),
        ("[::]", True),
        ("192.168.0.7", True),
        ("some.host", True),
    ],
)
def test_who_may_reach_it(tmp_path, host, is_exposed):
    assert ServerConfig(models=tmp_path, host=host).is_exposed == is_exposed


def test_merged_runs_share_the_cores_out(monkeypatch, tmp_path):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    plain = ServerConfig(models=tmp_path)
    assert (plain.num_parallel_runs, plain.threads_per_run) == (8, 8)
    merging = ServerConfig(models=tmp_path, batching=True)
    assert (merging.num_parallel_runs, merging.threads_per_run) == (2, 4)
    assert ServerConfig(models=tmp_path, batching=True, parallel_runs=1).threads_per_run == 8
    assert ServerConfig(models=tmp_path, batching=True, threads=3).threads_per_run == 3
    with pytest.raises(ServerError, match="threads: expected 1 to 1024"):
        ServerConfig(models=tmp_path, threads=0)


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "says"),
    [
        ("server.pem", "client.key", None, "expected the private key of .*server.pem"),
        ("text.pem", "server.key", None, "text.pem, .*in PEM format"),
        ("server.pem", "text.pem", None, "in PEM format"),
        ("server.pem", "locked.key", None, "without a password"),
        ("nowhere.pem", "server.key", None, "nowhere.pem: cannot read it"),
        ("server.pem", "server.key", "text.pem", "text.pem: expected certificates"),
        ("server.pem", "server.key", "nowhere.pem", "nowhere.pem: cannot read it"),
    ],
)
def test_tls_files_that_do_not_fit(pki, certificate, key, authority, says):
    files = TlsFiles(pki / certificate, pki / key, authority and pki / authority)
    with pytest.raises(ServerError, match=says):
        server_credentials(files)
