"""Requests that are wrong in many ways, each with the status that it must get."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError, Message
from PIL import Image
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

__all__ = ["Malformed", "malformed_requests"]

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"

_MESSAGES: dict[str, type[Message]] = {
    PREDICT: predict_pb2.PredictRequest,
    CLASSIFY: classification_pb2.ClassificationRequest,
    METADATA: get_model_metadata_pb2.GetModelMetadataRequest,
    STATUS: get_model_status_pb2.GetModelStatusRequest,
    RELOAD: model_management_pb2.ReloadConfigRequest,
}
_HUGE = (2**31 - 1, 2**31, 2**33, 2**40, 2**62, 2**63 - 1)


class Malformed(NamedTuple):
    """A request and the status that it must get.

    Args:
        what: In a few words.
        method: Full name of the gRPC method.
        data: What is sent.
        codes: Names of the statuses that are right; more than one only where chance decides.
    """

    what: str
    method: str
    data: bytes
    codes: frozenset[str]


def malformed_requests(
    model: str, size: int, count: int, seed: int = 0, large_every: int = 400
) -> Iterator[Malformed]:
    """Makes requests to a model with the signatures that `far_keras.export` writes.

    Args:
        model: Its name.
        size: Side of its images.
        count: How many requests.
        seed: Of what is random.
        large_every: One in so many requests has 100 MB, more than a message may have.
    """
    maker = _Maker(model, size, np.random.default_rng(seed))
    makers = maker.makers()
    for index in range(count):
        if index % large_every == large_every - 1:
            yield maker.large()
        else:
            yield makers[index % len(makers)]()


class _Maker:
    def __init__(self, model: str, size: int, rng: np.random.Generator):
        self.model, self.size, self.rng = model, size, rng
        self.image = rng.integers(0, 256, (size, size, 3)).astype(np.uint8)

    def makers(self) -> list[Callable[[], Malformed]]:
        return [
            self.noise,
            self.flipped,
            self.cut,
            self.wrong_dtype,
            self.wrong_shape,
            self.huge_shape,
            self.lying_shape,
            self.no_batch,
            self.too_many_rows,
            self.broken_picture,
            self.image_bomb,
            self.unknown_name,
            self.wrong_inputs,
            self.broken_example,
            self.wrong_metadata,
            self.wrong_reload,
        ]

    # Bytes ---------------------------------------------------------------------------------

    def noise(self) -> Malformed:
        method, _ = self._any_request()
        return self._of_bytes("noise", method, self.rng.bytes(int(self.rng.integers(1, 2000))))

    def flipped(self) -> Malformed:
        method, request = self._any_request()
        data = bytearray(request.SerializeToString())
        # Mostly near the front, where names, dtypes and shapes are.
        for _ in range(int(self.rng.integers(1, 8))):
            position = int(self.rng.integers(0, min(len(data), 120)))
            data[position] ^= 1 << int(self.rng.integers(0, 8))
        return self._of_bytes("bits flipped", method, bytes(data))

    def cut(self) -> Malformed:
        method, request = self._any_request()
        data = request.SerializeToString()
        return self._of_bytes("cut off", method, data[: int(self.rng.integers(1, len(data)))])

    def large(self) -> Malformed:
        request = self._request("serve_uint8")
        tensor = request.inputs["images"]
        tensor.dtype = types_pb2.DT_UINT8
        tensor.tensor_content = bytes(100 * 1000 * 1000)
        data = request.SerializeToString()
        return Malformed("100 MB", PREDICT, data, frozenset({"RESOURCE_EXHAUSTED"}))

    # Tensors -------------------------------------------------------------------------------

    def wrong_dtype(self) -> Malformed:
        kinds = (np.float64, np.int8, np.int32, np.int64, np.uint16, np.bool_, np.complex64)
        kind = kinds[int(self.rng.integers(len(kinds)))]
        return self._refused("dtype", self._images_request(self.image[None].astype(kind)))

    def wrong_shape(self) -> Malformed:
        shapes = [(), (3,), (4, 4), (4, 4, 3), (1, 4, 4, 1), (1, 4, 4, 4), (1, 1, 4, 4, 3)]
        shapes += [(1, 0, 4, 3), (1, 4, 0, 3), (1, 4, 4, 0), (1,) * 64]
        shape = shapes[int(self.rng.integers(len(shapes)))]
        request = self._images_request(np.zeros(shape, np.uint8))
        if len(shape) == 64:  # and more than NumPy can have
            self._set_shape(request, [1] * int(self.rng.integers(64, 1000)))
        return self._refused("shape", request)

    def huge_shape(self) -> Malformed:
        request = self._images_request()
        sizes = [int(self.rng.choice(_HUGE)) for _ in range(3)]
        sizes = [s if self.rng.random() < 0.7 else int(self.rng.integers(1, 5)) for s in sizes]
        self._set_shape(request, [_HUGE[0], *sizes[1:], 3])
        tensor = request.inputs["images"]
        if self.rng.random() < 0.5:  # one value is to fill them all
            tensor.tensor_content = b""
            tensor.int_val.append(7)
        return self._refused("huge dimensions", request)

    def lying_shape(self) -> Malformed:
        request = self._images_request()
        size = self.size
        shapes = [[1, size, size + 1, 3], [2, size, size, 3], [-1, size, size, 3]]
        shapes += [[1, size, size - 1, 3], [1, -size, -size, 3], [-5, 4, 4, 3]]
        self._set_shape(request, shapes[int(self.rng.integers(len(shapes)))])
        return self._refused("a shape that does not fit the content", request)

    def no_batch(self) -> Malformed:
        empty = np.zeros((0, self.size, self.size, 3), np.uint8)
        return self._refused("an empty batch", self._images_request(empty))

    def too_many_rows(self) -> Malformed:
        rows = np.zeros((int(self.rng.integers(20_000, 1_000_000)), 1, 1, 3), np.uint8)
        return self._refused("rows without end", self._images_request(rows))

    # Images ------------------------------------------------------------------------------

    def broken_picture(self) -> Malformed:
        whole = [self._encoded(kind) for kind in ("JPEG", "PNG")]
        good = whole[int(self.rng.integers(2))]
        broken = (
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"<svg/>",
            self.rng.bytes(500),
            good[: int(self.rng.integers(1, len(good) // 2))],
            good[:20] + self.rng.bytes(200),
        )
        image = broken[int(self.rng.integers(len(broken)))]
        images = [whole[0], image, whole[1]] if self.rng.random() < 0.5 else [image]
        return self._refused("a broken image", self._bytes_request(images))

    def image_bomb(self) -> Malformed:
        bombs = (lambda: _png_bomb(60_000, 60_000), self._jpeg_bomb, _gif_bomb)
        bomb = bombs[int(self.rng.integers(len(bombs)))]()
        if self.rng.random() < 0.3:
            return self._refused("a bomb in an example", self._example_request(bomb), CLASSIFY)
        return self._refused("an image bomb", self._bytes_request([bomb]))

    def broken_example(self) -> Malformed:
        if self.rng.random() < 0.2:
            return self._refused("no example", self._example_request(), CLASSIFY)
        request = self._example_request(self.rng.bytes(100))
        if self.rng.random() < 0.5:
            feature = request.input.example_list.examples[0].features.feature
            feature["image/other"].CopyFrom(feature.pop("image/encoded"))
        return self._refused("a broken example", request, CLASSIFY)

    # Names ---------------------------------------------------------------------------------

    def unknown_name(self) -> Malformed:
        request = self._images_request()
        spec = request.model_spec
        choice = int(self.rng.integers(6))
        codes = "NOT_FOUND"
        if choice == 0:
            spec.name = "nobody" * int(self.rng.integers(1, 500))
        elif choice == 1:
            spec.version.value = int(self.rng.choice([0, 7, -1, 2**62]))
        elif choice == 2:
            spec.version_label, codes = "none", "INVALID_ARGUMENT"
        elif choice == 3:
            spec.signature_name, codes = "none\n{{node}}", "FAILED_PRECONDITION"
        elif choice == 4:
            spec.name, codes = "", "INVALID_ARGUMENT"
        else:
            request.output_filter.append("none"), request.output_filter.append("logits")
            codes = "INVALID_ARGUMENT"
        return Malformed(
            "an unknown name", PREDICT, request.SerializeToString(), frozenset({codes})
        )

    def wrong_inputs(self) -> Malformed:
        request = self._images_request()
        if self.rng.random() < 0.5:
            request.inputs["x" * int(self.rng.integers(1, 5000))].CopyFrom(request.inputs["images"])
        else:
            request.inputs.clear()
        return self._refused("inputs that the signature has not", request)

    def wrong_metadata(self) -> Malformed:
        if self.rng.random() < 0.5:
            status = get_model_status_pb2.GetModelStatusRequest()
            status.model_spec.name, status.model_spec.version.value = self.model, 99
            data = status.SerializeToString()
            return Malformed("an unknown version", STATUS, data, frozenset({"NOT_FOUND"}))
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = self.model
        request.metadata_field.extend(["weights"] * int(self.rng.integers(0, 3)))
        return self._refused("metadata that there are not", request, METADATA)

    def wrong_reload(self) -> Malformed:
        request = model_management_pb2.ReloadConfigRequest()
        if self.rng.random() < 0.7:
            models = request.config.model_config_list
            one = models.config.add(name=self.model, base_path="models", model_platform="caffe")
            if self.rng.random() < 0.5:
                one.model_platform = "tensorflow"  # and a folder that is relative
        return self._refused("a configuration that is none", request, RELOAD)

    # ---------------------------------------------------------------------------------------

    def _refused(self, what: str, request, method: str = PREDICT) -> Malformed:
        data = request.SerializeToString()
        return Malformed(what, method, data, frozenset({"INVALID_ARGUMENT"}))

    def _any_request(self) -> tuple[str, Message]:
        """A method and a request of it that is right, but for the one that changes the models."""
        status = get_model_status_pb2.GetModelStatusRequest()
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        status.model_spec.name = metadata.model_spec.name = self.model
        reload = model_management_pb2.ReloadConfigRequest()
        reload.config.model_config_list.config.add(name=self.model, base_path="relative")
        requests = (
            (PREDICT, self._images_request()),
            (CLASSIFY, self._example_request(self._encoded("JPEG"))),
            (METADATA, metadata),
            (STATUS, status),
            (RELOAD, reload),
        )
        return requests[int(self.rng.integers(len(requests)))]

    def _of_bytes(self, what: str, method: str, data: bytes) -> Malformed:
        if method == RELOAD and _names_no_model(data):
            method = STATUS  # it would be right, and leave no model to call
        what = f"{what}, {method.rpartition('/')[2]}"
        return Malformed(what, method, data, self._codes(method, data))

    def _codes(self, method: str, data: bytes) -> frozenset[str]:
        """What chance made of a request may be many things, but bytes that are none are one."""
        try:
            request = _MESSAGES[method].FromString(data)
        except DecodeError:
            return frozenset({"INTERNAL"})
        if method == RELOAD:
            return frozenset({"INVALID_ARGUMENT"})
        spec = request.model_spec
        codes = {"OK", "INVALID_ARGUMENT"}
        if not spec.name or spec.WhichOneof("version_choice") == "version_label":
            codes = {"INVALID_ARGUMENT"}
        elif spec.name != self.model or spec.HasField("version"):
            codes = {"NOT_FOUND"}
        elif spec.signature_name != {PREDICT: "serve_uint8", CLASSIFY: "classify"}.get(method, ""):
            codes = {"FAILED_PRECONDITION", "INVALID_ARGUMENT"}
        if method == METADATA and set(request.metadata_field) != {"signature_def"}:
            codes = {"INVALID_ARGUMENT"}
        return frozenset(codes)

    def _request(self, signature: str) -> predict_pb2.PredictRequest:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        return request

    def _images_request(self, images: np.ndarray | None = None) -> predict_pb2.PredictRequest:
        request = self._request("serve_uint8")
        value = self.image[None] if images is None else images
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(value))
        return request

    def _bytes_request(self, images: list[bytes]) -> predict_pb2.PredictRequest:
        request = self._request("serving_default")
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
        return request

    def _example_request(self, *images: bytes) -> classification_pb2.ClassificationRequest:
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model, "classify"
        request.input.example_list.SetInParent()
        for image in images:
            feature = request.input.example_list.examples.add().features.feature
            feature["image/encoded"].bytes_list.value.append(image)
        return request

    def _set_shape(self, request: predict_pb2.PredictRequest, sizes: list[int]) -> None:
        shape = request.inputs["images"].tensor_shape
        del shape.dim[:]
        for size in sizes:
            shape.dim.add(size=size)

    def _encoded(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.image).save(buffer, kind)
        return buffer.getvalue()

    def _jpeg_bomb(self) -> bytes:
        """Its header claims 65,500 x 65,500 pixels."""
        jpeg = self._encoded("JPEG")
        position = jpeg.index(b"\xff\xc0") + 5
        return jpeg[:position] + struct.pack(">HH", 65_500, 65_500) + jpeg[position + 4 :]


def _names_no_model(data: bytes) -> bool:
    try:
        config = model_management_pb2.ReloadConfigRequest.FromString(data).config
    except DecodeError:
        return False
    is_list = config.WhichOneof("config") == "model_config_list"
    return is_list and not config.model_config_list.config


@cache
def _png_bomb(width: int, height: int) -> bytes:
    """10 kB that claim, and would decode to, gigapixels of black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@cache
def _gif_bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (60_000, 1_000)).save(buffer, "GIF")
    return buffer.getvalue()
