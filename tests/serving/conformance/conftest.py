"""The server under test: the one at FAR_SERVING_TARGET, or a local one with small models."""

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from far_keras.export.description import ModelDescription

ROOT = Path(__file__).parents[3]
TIMEOUT = 30.0
LARGE = [
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", 64 * 2**20),
]


@dataclass
class Target:
    """A server, and what is known of it.

    Args:
        address: Host and port.
        model: Name of the model that is called.
        folder: The model's folder of versions as the server sees it; None if unknown.
        is_local: Whether it is `far-keras serve` rather than TF Serving.
        credentials: For a server with TLS.
    """

    address: str
    model: str
    folder: str | None
    is_local: bool
    credentials: grpc.ChannelCredentials | None = None
    _channels: list = field(default_factory=list)

    def connect(self):
        """A new channel."""
        if self.credentials is None:
            channel = grpc.insecure_channel(self.address, LARGE)
        else:
            channel = grpc.secure_channel(self.address, self.credentials, LARGE)
        self._channels.append(channel)
        return channel

    def close(self):
        for channel in self._channels:
            channel.close()


def _credentials():
    folder = os.environ.get("FAR_SERVING_CERTIFICATES")
    if not folder:
        return None
    files = [(Path(folder) / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt")]
    return grpc.ssl_channel_credentials(*files)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A folder with ``faces/1`` and ``faces/2``, exported models with different outputs."""
    import keras

    from far_keras.calibration import Calibration
    from far_keras.export import export_saved_model
    from far_keras.models.storage import LoadedModel
    from far_keras.models.variants import ModelConfig, build_model
    from far_keras.schema import CELEBA

    models = tmp_path_factory.mktemp("conformance")
    config = ModelConfig("mgmtn_mobilenetv3small", {"image_size": 64})
    thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
    calibration = Calibration({"Smiling": (1.5, -0.5), "Young": (0.5, 0.25)})
    for version in (1, 2):
        keras.utils.set_random_seed(version)
        model = build_model(config, CELEBA)
        # Untrained, it would predict nearly the same for everything.
        for weight in model.trainable_variables:
            if weight.path.endswith("kernel"):
                weight.assign(weight * (100 if "logits" in weight.path else 1.4))
        loaded = LoadedModel(model, CELEBA, thresholds, config, {}, calibration)
        export_saved_model(loaded, models / "faces")
    return models


@pytest.fixture(scope="session")
def target(request, tmp_path_factory):
    """The server under test."""
    address = os.environ.get("FAR_SERVING_TARGET")
    if address:
        found = Target(
            address,
            os.environ.get("FAR_SERVING_MODEL", "faces"),
            os.environ.get("FAR_SERVING_FOLDER"),
            is_local=False,
            credentials=_credentials(),
        )
        yield found
        found.close()
        return
    models = request.getfixturevalue("exported")
    start_server = request.getfixturevalue("start_server")
    # Both versions with their labels, as in the second step of a rollout.
    config = (ROOT / "serving" / "rollout" / "2-canary.config").read_text()
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text(config.replace("/models/faces", str(models / "faces")))
    with start_server("--models-config", file, "--poll-seconds", "0") as server:
        found = Target(server.address, "faces", str(models / "faces"), is_local=True)
        yield found
        found.close()


@pytest.fixture(scope="session")
def stubs(target):
    """The generated stubs of tensorflow-serving-api: ``stubs.prediction``, ``stubs.model``."""
    channel = target.connect()
    grpc.channel_ready_future(channel).result(TIMEOUT)
    return SimpleNamespace(
        prediction=prediction_service_pb2_grpc.PredictionServiceStub(channel),
        model=model_service_pb2_grpc.ModelServiceStub(channel),
    )


@pytest.fixture(scope="session")
def new_request(target):
    """A PredictRequest: ``new_request("serve_uint8", images=array, version=1)``."""

    def make(signature="", outputs=(), version=None, label=None, model=None, **inputs):
        message = predict_pb2.PredictRequest(output_filter=outputs)
        message.model_spec.name = target.model if model is None else model
        message.model_spec.signature_name = signature
        if version is not None:
            message.model_spec.version.value = version
        if label is not None:
            message.model_spec.version_label = label
        for name, value in inputs.items():
            if not isinstance(value, tensor_pb2.TensorProto):
                value = tf.make_tensor_proto(value)
            message.inputs[name].CopyFrom(value)
        return message

    return make


@pytest.fixture(scope="session")
def predict(stubs, new_request):
    """Calls Predict; the outputs as arrays, and ``model_spec`` of the response."""

    def call(*args, **kwargs):
        response = stubs.prediction.Predict(new_request(*args, **kwargs), TIMEOUT)
        arrays = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
        return arrays, response.model_spec

    return call


@pytest.fixture(scope="session")
def versions(target, stubs):
    """Numbers of the versions that serve, the latest last."""
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = target.model
    response = stubs.model.GetModelStatus(message, TIMEOUT)
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    return sorted(s.version for s in response.model_version_status if s.state == available)


@pytest.fixture(scope="session")
def two_versions(versions):
    if len(versions) < 2:
        pytest.skip(
            f"not checked: choosing a version. The server has only {versions}; serve two, as "
            "tests/serving/conformance/README.md says"
        )
    return versions[-2:]


@pytest.fixture(scope="session")
def labels(predict, two_versions):
    """Versions by label, of the labels that serving/rollout uses."""
    found = {}
    for label in ("stable", "canary"):
        try:
            found[label] = predict("describe", label=label, rows=np.zeros(1, np.int32))[1]
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
                raise
    if len(found) < 2:
        pytest.skip(
            f"not checked: labels. The server has {sorted(found)} of stable and canary; start it "
            "with serving/rollout/2-canary.config"
        )
    return {label: spec.version.value for label, spec in found.items()}


@pytest.fixture(scope="session")
def description(predict):
    """The model's description."""
    outputs, _ = predict("describe", rows=np.zeros(1, np.int32))
    return ModelDescription.from_json(outputs["json"][0])


@pytest.fixture(scope="session")
def images(description):
    """Six different images as the network takes them: uint8 (6, S, S, 3)."""
    return _make_images(description.image_size, description.image_size)


@pytest.fixture(scope="session")
def make_images():
    return _make_images


@pytest.fixture(scope="session")
def encode():
    return _encode


def _make_images(height, width, count=6):
    """Smooth images: JPEG changes them little."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    generator = np.random.default_rng(7)
    made = []
    for _ in range(count):
        base, down, across = generator.uniform(0, 120, (3, 3))
        made.append(base + down * y + across * x)
    return np.rint(made).clip(0, 255).astype(np.uint8)


def _encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def error_of():
    """The code of a call that fails: ``error_of(stub.Predict, request)``."""

    def call(method, message, timeout=TIMEOUT):
        with pytest.raises(grpc.RpcError) as caught:
            method(message, timeout)
        text = caught.value.details()
        assert text and "Traceback" not in text
        return caught.value.code()

    return call


@pytest.fixture
def models_config(target):
    """A ModelServerConfig of the model: ``models_config({1, 2}, {"stable": 1})``."""
    if target.folder is None:
        pytest.skip(
            "not checked: HandleReloadConfigRequest. Set FAR_SERVING_FOLDER to the model's folder "
            "as the server sees it, such as /models/faces"
        )

    def make(versions, labels=None):
        text = (
            f'model_config_list {{ config {{ name: "{target.model}" base_path: "{target.folder}" '
            'model_platform: "tensorflow" } }'
        )
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        (model,) = config.model_config_list.config
        model.model_version_policy.specific.versions.extend(sorted(versions))
        model.version_labels.update(labels or {})
        return config

    return make


@pytest.fixture
def local_only(target):
    """For what TF Serving does not have."""
    if not target.is_local:
        pytest.skip("TF Serving has no health service and no reflection: nothing to check")
