"""GetModelMetadata: the signatures of a model."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2

from far_keras.serving.server.rpc_error import RpcError
from far_keras.serving.server.servable import Servable

__all__ = ["SIGNATURE_DEF", "check_fields", "describe_signatures"]

SIGNATURE_DEF = "signature_def"


def check_fields(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    """Refuses what there is no metadata of.

    Raises:
        RpcError: INVALID_ARGUMENT.
    """
    if not request.metadata_field:
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "GetModelMetadataRequest must specify at least one metadata_field",
        )
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise RpcError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Metadata field {field[:80]} is not supported; expected {SIGNATURE_DEF}",
            )


def describe_signatures(servable: Servable) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The answer, with the signatures as the model's file has them.

    Args:
        servable: In use by the caller.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.model.signature_defs.items() if servable.model else ():
        signatures.signature_def[name].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.name
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response
