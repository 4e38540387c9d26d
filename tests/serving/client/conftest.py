"""A server on the real stubs that predicts from the pixels, and fails as a test sets it."""

import io
import subprocess
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from far_keras.export.description import ModelDescription
from far_keras.schema import AttributeSchema, Group
from far_keras.serving import FarClient

MODEL = "mgmtn"
SCHEMA = AttributeSchema(
    "three",
    ("Red", "Green", "Untrained"),
    (Group("Eyes", ("Red", "Untrained"), ("eyes",)), Group("Hair", ("Green",), ("hair",))),
)
MASK_SIZE = (5, 4)


def describe(masks=True):
    return ModelDescription(
        name=MODEL,
        variant="mgmtn_efficientnetlite0",
        schema=SCHEMA,
        image_size=16,
        mask_size=MASK_SIZE if masks else None,
        thresholds={"Red": 0.25, "Green": 0.5, "Untrained": 0.5},
        untrained=("Untrained",),
    )


def outputs_for(image):
    """The outputs for one image, (H, W, 3): its mean colour, and masks that count up."""
    red, green, _ = image.reshape(-1, 3).mean(axis=0) / 255
    masks = np.linspace(0, red, MASK_SIZE[0] * MASK_SIZE[1] * 2).reshape(*MASK_SIZE, 2)
    return [red, green, 0.5], masks


class ColourServer(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Answers with an image's mean red and green.

    Attributes:
        before: Called with request and context before each Predict; may raise, wait, abort, or
            return the response instead.
        requests: Every PredictRequest in order of arrival.
        peers: The address of each Predict's connection.
        version: The version that it reports.
    """

    def __init__(self):
        self.before = lambda request, context: None
        self.requests, self.peers, self.reloads = [], [], []
        self.version, self.masks, self.float_val, self.described = 3, True, False, True
        self.most_at_once = self._now = 0

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        self.peers.append(context.peer())
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return self.before(request, context) or self.respond(request, context)
        finally:
            self._now -= 1

    def respond(self, request, context):
        spec = request.model_spec
        if spec.name != MODEL or spec.version.value not in (0, self.version):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for {spec.name}")
        response = predict_pb2.PredictResponse(model_spec=spec)
        response.model_spec.version.value = self.version
        if spec.signature_name == "describe":
            if not self.described:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "signature not found")
            texts = np.array([describe(self.masks).to_json().encode()], object)
            response.outputs["json"].CopyFrom(tf.make_tensor_proto(texts))
            return response
        if spec.signature_name == "serve_uint8":
            images = tf.make_ndarray(request.inputs["images"])
        else:
            try:
                contents = tf.make_ndarray(request.inputs["image_bytes"])
                images = [np.asarray(Image.open(io.BytesIO(c)).convert("RGB")) for c in contents]
            except OSError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a JPEG or PNG")
        attributes, masks = zip(*map(outputs_for, images), strict=True)
        outputs = {"attributes": np.array(attributes), "logits": np.array(attributes)}
        if self.masks:
            outputs["masks"] = np.array(masks)
        for name, value in outputs.items():
            if request.output_filter and name not in request.output_filter:
                continue
            value = value.astype(np.float32)
            tensor = response.outputs[name]
            tensor.CopyFrom(tf.make_tensor_proto(value))
            if self.float_val:
                tensor.ClearField("tensor_content")
                tensor.float_val.extend(value.ravel())
        return response

    def GetModelStatus(self, request, context):  # noqa: N802
        if request.model_spec.name != MODEL:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find {request.model_spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=2, state="END").status.error_message = "old"
        response.model_version_status.add(version=self.version, state="AVAILABLE")
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signature = signatures.signature_def["serve_uint8"]
        images = signature.inputs["images"]
        images.dtype = tf.uint8.as_datatype_enum
        images.tensor_shape.CopyFrom(tf.TensorShape((None, None, None, 3)).as_proto())
        signature.outputs["attributes"].dtype = tf.float32.as_datatype_enum
        signature.outputs["attributes"].tensor_shape.unknown_rank = True
        signatures.signature_def["__saved_model_init_op"].method_name = ""
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def HandleReloadConfigRequest(self, request, context):  # noqa: N802
        self.reloads.append(request)
        response = model_management_pb2.ReloadConfigResponse()
        if any(config.base_path == "/gone" for config in request.config.model_config_list.config):
            response.status.error_code = 3
            response.status.error_message = "no such folder"
        return response


@pytest.fixture
def start():
    """Starts a server; what it gives to grpc is for the test to choose."""
    running = []

    def start(service, address="127.0.0.1:0", credentials=None, workers=8):
        server = grpc.server(
            futures.ThreadPoolExecutor(workers),
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        server.start()
        running.append(server)
        return port

    start.running = running
    yield start
    for server in running:
        server.stop(0).wait()


@pytest.fixture
def service():
    return ColourServer()


@pytest.fixture
def target(start, service):
    return f"127.0.0.1:{start(service)}"


@pytest.fixture
def client(target):
    with FarClient(target, MODEL, timeout=5) as client:
        yield client


def make_image(red, size=(6, 4), green=0):
    """A uint8 image of one colour."""
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0], image[..., 1] = red, green
    return image


def encoded(red, kind="png"):
    file = io.BytesIO()
    Image.fromarray(make_image(red)).save(file, kind)
    return file.getvalue()


@pytest.fixture(name="make_image")
def make_image_fixture():
    return make_image


@pytest.fixture(name="encoded")
def encoded_fixture():
    return encoded


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with an authority (ca.pem), a server and a client that it signed, and a stranger."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(text):
        subprocess.run(
            ["openssl", *text.split()], cwd=folder, check=True, capture_output=True, timeout=60
        )

    new = (
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {0}.key -subj /CN={1}"
    )
    for name in ("ca", "stranger"):
        openssl(
            new.format(name, name)
            + f" -x509 -out {name}.pem -days 2 -addext basicConstraints=critical,CA:TRUE"
        )
    for name, host in (("server", "far.test"), ("client", "client.test")):
        openssl(new.format(name, host) + f" -out {name}.csr")
        (folder / "names").write_text(f"subjectAltName=DNS:{host}")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-out {name}.pem -extfile names"
        )
    return folder
