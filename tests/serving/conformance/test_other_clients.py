"""Clients that others wrote: grpcurl in Go, ovmsclient in Python, grpc-js in Node."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)

CLIENTS = Path(__file__).parent / "clients"
SECONDS = 120
NOT_FOUND = 5


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory):
    """A file with the API's descriptors, for clients that generate their own code from it."""
    found = descriptor_pb2.FileDescriptorSet()
    seen = set()

    def add(file):
        if file.name not in seen:
            seen.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            file.CopyToProto(found.file.add())

    add(prediction_service_pb2.DESCRIPTOR)
    add(model_service_pb2.DESCRIPTOR)
    path = tmp_path_factory.mktemp("descriptors") / "tf_serving.pb"
    path.write_bytes(found.SerializeToString())
    return path


@pytest.fixture(scope="module")
def image(images, encode, tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "face.png"
    path.write_bytes(encode(images[0]))
    return path


@pytest.fixture(scope="module")
def expected(predict, image):
    outputs, spec = predict(image_bytes=np.array([image.read_bytes()], object))
    return outputs["attributes"][0], spec.version.value


def run(*command, text=None, status=0):
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        input=text,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def insecure(target):
    if target.credentials is not None:
        pytest.skip("not checked: other clients with TLS; use a server without")
    return target


@pytest.fixture(scope="module")
def grpcurl():
    found = shutil.which("grpcurl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(
            "not checked: grpcurl, which has no build for this system in the extra 'dev'; put a "
            "program grpcurl on the PATH"
        )
    return found


@pytest.fixture(params=["descriptors", "reflection"])
def grpcurl_call(request, grpcurl, insecure, descriptors):
    """Calls a method with grpcurl; it learns the API from a file or from the server."""
    words = [grpcurl, "-plaintext", "-max-time", "30", "-max-msg-sz", "67108864"]
    if request.param == "descriptors":
        words += ["-protoset", descriptors]
    else:
        request.getfixturevalue("local_only")

    def call(method, message, response=None, status=0):
        # What grpcurl returns for status code n.
        status = 64 + status if status else 0
        name = f"tensorflow.serving.{method}"
        text = json_format.MessageToJson(message)
        given = run(*words, "-d", "@", insecure.address, name, text=text, status=status)
        return json_format.Parse(given, response) if response is not None else None

    return call


def test_grpcurl(grpcurl_call, insecure, image, expected, versions):
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = insecure.model
    response = get_model_status_pb2.GetModelStatusResponse()
    grpcurl_call("ModelService/GetModelStatus", status, response)
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    states = {one.version: one.state for one in response.model_version_status}
    assert {number for number, state in states.items() if state == available} == set(versions)

    message = predict_pb2.PredictRequest(output_filter=["attributes"])
    message.model_spec.name = insecure.model
    message.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image.read_bytes()]))
    response = grpcurl_call("PredictionService/Predict", message, predict_pb2.PredictResponse())
    attributes, version = expected
    found = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
    np.testing.assert_allclose(found.pop("attributes"), [attributes], rtol=0, atol=1e-5)
    assert not found
    assert response.model_spec.version.value == version
    message.model_spec.name = "nobody"
    grpcurl_call("PredictionService/Predict", message, status=NOT_FOUND)


def test_grpcurl_reads_metadata(grpcurl_call, insecure):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = insecure.model
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    grpcurl_call("PredictionService/GetModelMetadata", message, response)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    images = found.signature_def["serving_default"].inputs["image_bytes"]
    assert images.dtype == tf.string.as_datatype_enum


def test_grpcurl_lists_services_and_asks_for_health(grpcurl, insecure, local_only):
    listed = run(grpcurl, "-plaintext", insecure.address, "list").split()
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= {*listed}
    health = run(grpcurl, "-plaintext", insecure.address, "grpc.health.v1.Health/Check")
    assert json.loads(health) == {"status": "SERVING"}


def test_ovmsclient(insecure, image, expected, versions):
    pytest.importorskip(
        "ovmsclient", reason="not checked: ovmsclient, which is not installed; it is in extra 'dev'"
    )
    attributes, version = expected
    words = (insecure.address, insecure.model, image, version)
    responses = json.loads(run(sys.executable, CLIENTS / "ovms.py", *words).splitlines()[-1])
    assert responses["states"] == {str(version): "AVAILABLE"}
    assert responses["version"] == version
    assert responses["inputs"] == {"image_bytes": ["DT_STRING", [-1]]}
    assert {"attributes", "logits"} <= set(responses["outputs"])
    np.testing.assert_allclose(responses["attributes"], attributes, rtol=0, atol=1e-5)
    assert responses["version 0"] == responses["unknown"] == "ModelNotFoundError"
    assert responses["not an image"] == "InvalidInputError"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Node, and a folder with the script and its packages."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("not checked: Node's grpc-js, without node and npm; install Node 20 or newer")
    folder = CLIENTS / "node"
    if not (folder / "node_modules").is_dir():
        folder = shutil.copytree(folder, tmp_path_factory.mktemp("node") / "client")
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode != 0:
            pytest.skip(
                "not checked: Node's grpc-js, since npm cannot install it "
                f"({done.stderr.strip().splitlines()[-1:]}); run `npm ci` in {CLIENTS / 'node'}"
            )
    return found, folder / "client.js"


@pytest.mark.parametrize("learns_from", ["descriptors", "reflection"])
def test_node(request, node, insecure, image, expected, versions, descriptors, learns_from):
    if learns_from == "reflection":
        request.getfixturevalue("local_only")
    files = [descriptors] if learns_from == "descriptors" else []
    responses = json.loads(run(*node, insecure.address, insecure.model, image, *files))
    attributes, version = expected
    available = {int(n) for n, state in responses["states"].items() if state == "AVAILABLE"}
    assert available == set(versions)
    assert responses["version"] == version
    assert responses["outputs"] == ["attributes"] and responses["shape"] == [1, len(attributes)]
    np.testing.assert_allclose(responses["attributes"], attributes, rtol=0, atol=1e-5)
    assert responses["metadata"] == ["signature_def"]
    assert responses["unknown"]["code"] == NOT_FOUND
    if learns_from == "reflection":
        assert "tensorflow.serving.PredictionService" in responses["services"]
