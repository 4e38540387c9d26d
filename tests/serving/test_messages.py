"""The bytes are those of TensorFlow Serving's own messages, in both directions."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor as descriptors
from tensorflow.core.framework import tensor_pb2 as tf_tensor
from tensorflow.core.framework import tensor_shape_pb2 as tf_shape
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    status_pb2,
)
from tensorflow_serving.config import (
    file_system_storage_path_source_pb2,
    model_server_config_pb2,
)

from far_keras.serving.messages import serving_pb2 as ours_pb2

ROOT = Path(__file__).parents[2]
POLICY = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
FIELD = descriptors.FieldDescriptor

PAIRS = [
    (ours_pb2.Tensor, tf_tensor.TensorProto),
    (ours_pb2.TensorShape, tf_shape.TensorShapeProto),
    (ours_pb2.ModelSpec, model_pb2.ModelSpec),
    (ours_pb2.Status, status_pb2.StatusProto),
    (ours_pb2.PredictRequest, predict_pb2.PredictRequest),
    (ours_pb2.PredictResponse, predict_pb2.PredictResponse),
    (ours_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (ours_pb2.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (ours_pb2.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus),
    (ours_pb2.TensorInfo, meta_graph_pb2.TensorInfo),
    (ours_pb2.SignatureDef, meta_graph_pb2.SignatureDef),
    (ours_pb2.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (ours_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (ours_pb2.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (ours_pb2.ServableVersionPolicy, POLICY),
    (ours_pb2.ModelConfig, model_server_config_pb2.ModelConfig),
    (ours_pb2.ModelConfigList, model_server_config_pb2.ModelConfigList),
    (ours_pb2.ModelServerConfig, model_server_config_pb2.ModelServerConfig),
    (ours_pb2.ReloadConfigRequest, model_management_pb2.ReloadConfigRequest),
    (ours_pb2.ReloadConfigResponse, model_management_pb2.ReloadConfigResponse),
    (ours_pb2.Metric, model_management_pb2.Metric),
]
NAMES = [ours.DESCRIPTOR.name for ours, _ in PAIRS]

# An enum and a plain number are the same bytes; error codes are left as numbers.
SAME_BYTES = {FIELD.TYPE_ENUM: FIELD.TYPE_INT32}


def is_map(field):
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def full(message, depth=0):
    """Every field of a message set, to values that no default is."""
    for field in message.DESCRIPTOR.fields:
        value = {
            FIELD.CPPTYPE_STRING: b"\xc3\xa4\0z" if field.type == FIELD.TYPE_BYTES else "ä z",
            FIELD.CPPTYPE_INT32: -3,
            FIELD.CPPTYPE_INT64: -(1 << 40),
            FIELD.CPPTYPE_UINT32: (1 << 32) - 1,
            FIELD.CPPTYPE_UINT64: (1 << 64) - 1,
            FIELD.CPPTYPE_FLOAT: 1.5,
            FIELD.CPPTYPE_DOUBLE: -2.25,
            FIELD.CPPTYPE_BOOL: True,
            FIELD.CPPTYPE_ENUM: 10,
        }.get(field.cpp_type)
        target = getattr(message, field.name)
        if is_map(field):
            inner = field.message_type.fields_by_name["value"]
            if inner.message_type is None:
                target["a key"] = 7
            else:
                full(target["a key"], depth + 1)
        elif field.message_type is not None:
            if depth < 6:
                full(target.add() if field.is_repeated else target, depth + 1)
        elif field.is_repeated:
            target.extend([value, value])
        elif field.containing_oneof is None or field == field.containing_oneof.fields[0]:
            setattr(message, field.name, value)
    return message


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=NAMES)
def test_what_we_write_they_read_and_back(ours, theirs):
    content = full(ours()).SerializeToString(deterministic=True)
    read = theirs.FromString(content)
    assert not unknown_fields(read)
    assert ours.FromString(read.SerializeToString()) == full(ours())
    assert read.SerializeToString(deterministic=True) == content


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=NAMES)
def test_what_they_write_survives_us(ours, theirs):
    """Fields that we do not declare too: they are kept and written again."""
    message = (
        full(theirs()) if theirs is not meta_graph_pb2.TensorInfo else theirs(name="x", dtype=4)
    )
    through = theirs.FromString(ours.FromString(message.SerializeToString()).SerializeToString())
    assert through == message


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=NAMES)
def test_every_field_has_the_name_number_and_type_of_theirs(ours, theirs):
    for field in ours.DESCRIPTOR.fields:
        other = theirs.DESCRIPTOR.fields_by_number[field.number]
        assert field.name == other.name
        assert field.is_repeated == other.is_repeated
        assert is_map(field) == is_map(other)
        kinds = {SAME_BYTES.get(kind, kind) for kind in (field.type, other.type)}
        assert len(kinds) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ours_pb2.DataType, tf_tensor.TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type),
        (
            ours_pb2.ModelVersionStatus.State,
            get_model_status_pb2.ModelVersionStatus.DESCRIPTOR.enum_types_by_name["State"],
        ),
        (
            ours_pb2.ModelType,
            model_server_config_pb2.ModelConfig.DESCRIPTOR.fields_by_name["model_type"].enum_type,
        ),
    ],
)
def test_enums_have_the_same_numbers(ours, theirs):
    for name, number in ours.items():
        assert theirs.values_by_name[name].number == number


def test_health_checks_are_those_of_grpc():
    health = pytest.importorskip("grpc_health.v1.health_pb2")
    request = ours_pb2.HealthCheckRequest(service="a")
    assert health.HealthCheckRequest.FromString(request.SerializeToString()).service == "a"
    for name, number in ours_pb2.HealthCheckResponse.ServingStatus.items():
        assert health.HealthCheckResponse.ServingStatus.Value(name) == number
        response = health.HealthCheckResponse(status=number)
        assert (
            ours_pb2.HealthCheckResponse.FromString(response.SerializeToString()).status == number
        )


def test_the_generated_files_are_those_of_the_protos(tmp_path):
    """The descriptors inside them, so that no generator is needed: the files are parsed again."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    files = sorted((ROOT / "far_keras/serving/messages").glob("*.proto"))
    names = [str(path.relative_to(ROOT)) for path in files]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            protoc.__name__,
            "--proto_path=.",
            f"--python_out={tmp_path}",
            *names,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for name in names:
        path = name.replace(".proto", "_pb2.py")
        assert descriptor_line(tmp_path / path) == descriptor_line(ROOT / path)


def descriptor_line(path):
    (line,) = [text for text in path.read_text().splitlines() if "AddSerializedFile" in text]
    return line


def unknown_fields(message):
    from google.protobuf import unknown_fields

    return len(unknown_fields.UnknownFieldSet(message))
