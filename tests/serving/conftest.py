"""Servers in this process and in separate ones, and small models for them."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from far_keras.export.description import ModelDescription
from far_keras.schema import CELEBA
from far_keras.serving.server import Server, ServerConfig

ROOT = Path(__file__).parents[2]
START_SECONDS = 120


class RunningServer:
    """`far-keras serve` in a separate process, ready for requests."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "far_keras.cli", "serve", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self._new = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = self.wait_for("serving ", START_SECONDS)
        self.address = ready.rpartition(" on ")[2]
        self.metrics_url = next(
            (line.rpartition(" ")[2] for line in self.lines if line.startswith("metrics at ")), None
        )

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._new.put(self.lines[-1])
        self._new.put(None)

    def wait_for(self, text, seconds=30):
        """The next line of output with `text` in it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                line = self._new.get(timeout=max(0.01, end - time.monotonic()))
                if line is None:
                    break
                if text in line:
                    return line
        self.kill()
        raise AssertionError(f"no {text!r} in the server's output:\n" + "\n".join(self.lines))

    def stop(self):
        """Ends it as a service manager would; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds=100):
        """The exit status, when it has ended and all its output is in `lines`."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"not ended after {seconds} s:\n" + "\n".join(self.lines)
            ) from None
        self._reader.join(10)
        return code

    def kill(self):
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            assert self.stop() == 0, self.lines  # 1 where it hung and so ended itself


@pytest.fixture(scope="session")
def start_server():
    """Starts a server: ``with start_server(folder, "--batching") as server: server.address``.

    The port is free, and the process ends with the block, or at the latest with the tests.
    """
    running = []

    def start(*arguments, port=0):
        running.append(RunningServer(*arguments, "--port", port))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.kill()


class Caller:
    """Both stubs on one channel, and the errors of refused calls."""

    def __init__(self, channel):
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)

    def refusal(self, method, request, timeout=10):
        """Status and text of a call that must fail: one short line without internals."""
        with pytest.raises(grpc.RpcError) as caught:
            method(request, timeout=timeout)
        text = caught.value.details()
        assert text
        assert len(text) <= 400
        for leak in ("\n", "Traceback", "{{", "[[", 'File "'):
            assert leak not in text
        return caught.value.code().name, text


@pytest.fixture(scope="session")
def serve():
    """Starts a server in this process: ``with serve(models=...) as (server, caller)``."""

    @contextlib.contextmanager
    def start(**settings):
        with (
            Server(ServerConfig(port=0, **settings)) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            yield server, Caller(channel)

    return start


class Sums(tf.Module):
    """Adds up rows; an output has the version, and -1 as an input fails."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def __call__(self, x):
        check = tf.debugging.Assert(tf.reduce_all(x >= 0), ["x must not be negative"])
        with tf.control_dependencies([check]):
            return {"sum": tf.reduce_sum(x, 1), "version": tf.zeros_like(x[:, 0]) + self.version}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def doubled(self, x):
        return {"double": 2 * x}


class Faces(tf.Module):
    """As small as can be, with the signatures of an exported model."""

    SIZE = 16

    def __init__(self):
        super().__init__()
        attributes, groups = CELEBA.num_attributes, len(CELEBA.groups)
        initial = tf.random.Generator.from_seed(0).normal((3, attributes + groups))
        self.weights = tf.Variable(initial)

    def predict(self, images):
        attributes = CELEBA.num_attributes
        # Exported models refuse empty batches as well.
        check = tf.debugging.Assert(tf.shape(images)[0] > 0, ["expected images"])
        with tf.control_dependencies([check]):
            small = tf.image.resize(images, (self.SIZE, self.SIZE)) / 255.0
        logits = tf.reduce_mean(small, (1, 2)) @ self.weights[:, :attributes]
        masks = tf.sigmoid(small[:, ::2, ::2] @ self.weights[:, attributes:])
        return {"attributes": tf.sigmoid(logits), "logits": logits, "masks": masks}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def serve_bytes(self, image_bytes):
        def decode(data):
            image = tf.io.decode_image(data, 3, expand_animations=False)
            image = tf.ensure_shape(image, (None, None, 3))
            return tf.image.resize(image, (self.SIZE, self.SIZE))

        spec = tf.TensorSpec((self.SIZE, self.SIZE, 3), tf.float32)
        return self.predict(tf.map_fn(decode, image_bytes, fn_output_signature=spec))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
    def serve_uint8(self, images):
        return self.predict(tf.cast(images, tf.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="images")])
    def serve_float(self, images):
        return self.predict(images)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="inputs")])
    def classify(self, inputs):
        feature = tf.io.FixedLenFeature((), tf.string)
        images = tf.io.parse_example(inputs, {"image/encoded": feature})["image/encoded"]
        scores = self.serve_bytes(images)["attributes"]
        return {"classes": tf.tile([CELEBA.attributes], (tf.size(inputs), 1)), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="rows")])
    def describe(self, rows):
        return {"json": tf.fill(tf.shape(rows), DESCRIPTION.to_json())}


DESCRIPTION = ModelDescription(
    name="faces",
    variant="mean_colours",
    schema=CELEBA,
    image_size=Faces.SIZE,
    mask_size=(Faces.SIZE // 2, Faces.SIZE // 2),
    thresholds=dict.fromkeys(CELEBA.attributes, 0.5),
)


@pytest.fixture(scope="session")
def write_sums():
    """Writes the model `Sums`: ``write_sums(folder / "sums" / "3", version=3)``; appears whole."""

    def write(folder, version=1):
        folder = Path(folder)
        temporary = folder.with_name(f".{folder.name}.tmp")
        module = Sums(version)
        signatures = {"serving_default": module.__call__, "doubled": module.doubled}
        tf.saved_model.save(module, str(temporary), signatures)
        temporary.rename(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def small_sums(tmp_path_factory, write_sums):
    """A folder of models with ``sums/1``; not to be changed."""
    models = tmp_path_factory.mktemp("models")
    write_sums(models / "sums" / "1", 1)
    return models


@pytest.fixture(scope="session")
def sums_request():
    """A function from a number of rows, and a model's name, to a request to `Sums`."""

    def make(rows=1, model="sums"):
        message = predict_pb2.PredictRequest()
        message.model_spec.name = model
        message.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((rows, 3), np.float32)))
        return message

    return make


@pytest.fixture(scope="session")
def small_faces(tmp_path_factory):
    """A folder of models with ``faces/1``, which has the signatures of an exported model."""
    models = tmp_path_factory.mktemp("models")
    folder = models / "faces" / "1"
    module = Faces()
    signatures = {
        "serving_default": module.serve_bytes,
        "serve_uint8": module.serve_uint8,
        "serve_float": module.serve_float,
        "classify": module.classify,
        "describe": module.describe,
    }
    tf.saved_model.save(module, str(folder), signatures)
    for place in (folder, folder / "assets"):
        place.mkdir(exist_ok=True)
        (place / "far_keras.json").write_text(DESCRIPTION.to_json())
    return models
