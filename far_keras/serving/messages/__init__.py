"""Messages of TensorFlow Serving's gRPC services, without TensorFlow.

``serving.proto`` holds what a client needs, with the field numbers and types that TensorFlow
Serving gives them, so that the bytes on the wire are the same. Its package is one of its own:
both kinds of messages live in one process. After a change, generate the ``_pb2`` files from the
repository's root:

    pip install grpcio-tools==1.74.0
    python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. \
        far_keras/serving/messages/*.proto

grpcio-tools 1.74.0 generates for protobuf 6.31.1, the oldest that TensorFlow 2.21 takes; the code
runs with that and up to any 7. It needs an environment of its own, since it keeps protobuf below 7.
"""
