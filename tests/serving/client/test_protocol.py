import pytest

from far_keras.errors import ModelNotFoundError, RequestError, ServingError
from far_keras.serving import FarClient, ModelSignature, TensorSpec, VersionStatus

CONFIG = """
model_config_list {
  config {
    name: "mgmtn"
    base_path: "/models/mgmtn"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 3 } }
    version_labels { key: "stable" value: 1 }
  }
}
"""


def test_status(client, target):
    assert client.status() == (
        VersionStatus(3, "AVAILABLE"),
        VersionStatus(2, "END", 0, "old"),
    )
    assert client.is_ready()
    assert [entry.available for entry in client.status()] == [True, False]
    with FarClient(target, "other") as other:
        assert not other.is_ready()
        with pytest.raises(ModelNotFoundError, match="'other'"):
            other.status()


def test_metadata(client):
    assert client.metadata() == {
        "serve_uint8": ModelSignature(
            inputs={"images": TensorSpec("uint8", (-1, -1, -1, 3))},
            outputs={"attributes": TensorSpec("float", None)},
        )
    }


def test_reload_by_paths(client, service):
    client.reload({"mgmtn": "/models/mgmtn", "baseline": "/models/baseline"})
    configs = service.reloads[0].config.model_config_list.config
    assert [(c.name, c.base_path, c.model_platform) for c in configs] == [
        ("mgmtn", "/models/mgmtn", "tensorflow"),
        ("baseline", "/models/baseline", "tensorflow"),
    ]


def test_reload_from_a_file(client, service, tmp_path):
    (tmp_path / "models.config").write_text(CONFIG)
    client.reload(tmp_path / "models.config")
    (config,) = service.reloads[0].config.model_config_list.config
    assert list(config.model_version_policy.specific.versions) == [1, 3]
    assert dict(config.version_labels) == {"stable": 1}


def test_a_reload_that_the_server_refuses(client):
    with pytest.raises(ServingError, match="kept its models: no such folder"):
        client.reload({"mgmtn": "/gone"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot read the models.config file"),
        ("", "at least one model"),
        ("models: 3", "ModelServerConfig in protobuf's text format"),
        ("model_config_list { config { name: 7 } }", "1:"),
    ],
)
def test_files_that_are_no_configuration(client, service, tmp_path, text, reason):
    path = tmp_path / "models.config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RequestError, match=reason):
        client.reload(path)
    with pytest.raises(RequestError, match="at least one model"):
        client.reload({})
    assert not service.reloads


def test_health_of_a_server_without_it(client):
    with pytest.raises(RequestError, match="UNIMPLEMENTED"):
        client.health()
