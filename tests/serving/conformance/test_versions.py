"""Status, metadata, versions, labels, and changes of the configuration."""

import time

import numpy as np
import pytest
from grpc import StatusCode
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

from far_keras.export.saved_model import SIGNATURES

TIMEOUT = 30.0
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
END = get_model_status_pb2.ModelVersionStatus.END


def states(stubs, target, version=None):
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = target.model
    if version is not None:
        message.model_spec.version.value = version
    response = stubs.model.GetModelStatus(message, TIMEOUT)
    return {status.version: status.state for status in response.model_version_status}


def test_status_of_all_versions_and_of_one(stubs, target, versions):
    found = states(stubs, target)
    assert all(found[version] == AVAILABLE for version in versions)
    for version in versions:
        assert states(stubs, target, version) == {version: AVAILABLE}


def test_metadata_are_the_signatures(stubs, target, versions, description):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = target.model
    response = stubs.prediction.GetModelMetadata(message, TIMEOUT)
    assert response.model_spec.name == target.model
    assert response.model_spec.version.value == versions[-1]
    (packed,) = response.metadata.values()
    found = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(found)
    signatures = found.signature_def
    assert set(SIGNATURES) <= set(signatures)
    size, channels = signatures["serve_uint8"].inputs["images"].tensor_shape.dim[0::3]
    assert (size.size, channels.size) == (-1, 3)
    for name in ("serving_default", "serve_uint8", "serve_float"):
        outputs = signatures[name].outputs
        assert set(outputs) == {"attributes", "logits"} | ({"masks"} & {*outputs})
        assert ("masks" in outputs) == description.has_masks
        assert outputs["attributes"].tensor_shape.dim[1].size == len(description.attributes)


def test_a_version_by_number_and_none_for_the_latest(predict, two_versions, images):
    older, latest = two_versions
    responses = {}
    for version in (older, latest, None):
        responses[version], spec = predict("serve_uint8", version=version, images=images)
        assert spec.version.value == (version or latest)
    np.testing.assert_array_equal(responses[None]["logits"], responses[latest]["logits"])


def test_a_version_by_label(predict, labels, images):
    for label, version in labels.items():
        response, spec = predict("serve_uint8", label=label, images=images)
        assert spec.version.value == version
        expected, _ = predict("serve_uint8", version=version, images=images)
        np.testing.assert_allclose(response["logits"], expected["logits"], rtol=0, atol=1e-5)


def test_versions_predict_differently(predict, two_versions, images, target):
    if not target.is_local:
        pytest.skip("not checked: two versions of your own may well be the same model")
    older, latest = (
        predict("serve_uint8", version=version, images=images)[0]["logits"]
        for version in two_versions
    )
    assert np.abs(older - latest).max() > 0.01


@pytest.fixture
def reload(stubs, models_config, two_versions, labels):
    """Sends a configuration; the one from before comes back after the test."""

    def send(versions, labels=None, config=None):
        message = model_management_pb2.ReloadConfigRequest()
        message.config.CopyFrom(config or models_config(versions, labels))
        stubs.model.HandleReloadConfigRequest(message, TIMEOUT)

    yield send
    send(two_versions)
    wait(lambda: predict_works(stubs, models_config, two_versions), "both versions")
    send(two_versions, labels)


def predict_works(stubs, models_config, versions):
    (model,) = models_config(versions).model_config_list.config
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = model.name
    response = stubs.model.GetModelStatus(message, TIMEOUT)
    available = {s.version for s in response.model_version_status if s.state == AVAILABLE}
    return available >= set(versions)


def wait(condition, what, seconds=60):
    """TF Serving responds to a reload before versions are loaded."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.1)


def test_a_reload_unloads_and_loads_versions(reload, stubs, target, two_versions, predict):
    older, latest = two_versions
    reload({older})
    wait(lambda: states(stubs, target)[latest] == END, "the latest unloaded")
    _, spec = predict("describe", rows=np.zeros(1, np.int32))
    assert spec.version.value == older
    reload({older, latest})
    wait(lambda: states(stubs, target)[latest] == AVAILABLE, "the latest loaded again")
    _, spec = predict("describe", rows=np.zeros(1, np.int32))
    assert spec.version.value == latest


def test_a_label_moves(reload, predict, two_versions):
    for version in two_versions:
        reload(two_versions, {"stable": version})
        _, spec = predict("describe", label="stable", rows=np.zeros(1, np.int32))
        assert spec.version.value == version


def code_of(error_of, stubs, config):
    message = model_management_pb2.ReloadConfigRequest()
    message.config.CopyFrom(config)
    return error_of(stubs.model.HandleReloadConfigRequest, message)


@pytest.mark.parametrize("missing", [True, False])
def test_a_label_does_not_move_to_a_version_that_is_not_loaded(
    reload, stubs, target, error_of, models_config, predict, two_versions, missing
):
    """model_servers/server_core.cc, UpdateModelVersionLabelMap: then nothing is changed."""
    older, latest = two_versions
    reload({older}, {"stable": older})
    wait(lambda: states(stubs, target)[latest] == END, "the latest unloaded")
    moved = models_config({older, latest}, {"stable": 987654 if missing else latest})
    assert code_of(error_of, stubs, moved) == StatusCode.FAILED_PRECONDITION
    _, spec = predict("describe", label="stable", rows=np.zeros(1, np.int32))
    assert spec.version.value == older
    assert states(stubs, target)[latest] == END


def test_a_reload_with_a_model_twice(reload, stubs, error_of, models_config, two_versions):
    """model_servers/server_core.cc, ValidateModelConfigList"""
    config = models_config(two_versions)
    config.model_config_list.config.add().CopyFrom(config.model_config_list.config[0])
    assert code_of(error_of, stubs, config) == StatusCode.INVALID_ARGUMENT


def test_a_reload_without_a_platform(reload, stubs, error_of, models_config, two_versions):
    """model_servers/server_core.cc, GetPlatform"""
    config = models_config(two_versions)
    config.model_config_list.config[0].model_platform = ""
    assert code_of(error_of, stubs, config) == StatusCode.INVALID_ARGUMENT


def test_a_reload_while_requests_come(reload, predict, two_versions, stubs, target):
    """No request fails while versions come and go."""
    older, latest = two_versions
    for wanted in ({older}, {older, latest}):
        reload(wanted)
        end = time.monotonic() + 20
        while states(stubs, target)[latest] != (AVAILABLE if latest in wanted else END):
            predict("describe", rows=np.zeros(1, np.int32))
            assert time.monotonic() < end
