"""Many calls at once, deadlines, and calls that are given up."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

TIMEOUT = 60.0


def test_every_caller_gets_its_own_response(target, new_request, predict, images):
    """Eight clients with a connection each; servers that batch put their images together."""
    import tensorflow as tf

    expected = predict("serve_uint8", ["logits"], images=images)[0]["logits"]

    def client(number):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(target.connect())
        for call in range(12):
            row = (number + call) % len(images)
            message = new_request("serve_uint8", ["logits"], images=images[row : row + 1])
            response = stub.Predict(message, TIMEOUT)
            logits = tf.make_ndarray(response.outputs["logits"])
            # Batches of other sizes are added up in another order.
            np.testing.assert_allclose(logits, expected[row : row + 1], rtol=0, atol=1e-4)
        return call + 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(client, range(8))) == 96


def test_many_calls_on_one_connection(stubs, new_request, images):
    calls = [
        stubs.prediction.Predict.future(
            new_request("serve_uint8", ["attributes"], images=images[row % 6 : row % 6 + 1]),
            TIMEOUT,
        )
        for row in range(32)
    ]
    assert all(call.code() == grpc.StatusCode.OK for call in calls if call.result())


def test_a_deadline_is_kept(stubs, new_request, error_of, images):
    images = np.concatenate([images] * 8)
    message = new_request("serve_uint8", images=images)
    code = error_of(stubs.prediction.Predict, message, timeout=0.001)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    stubs.prediction.Predict(new_request("serve_uint8", images=images[:1]), TIMEOUT)


def test_a_call_that_is_given_up(stubs, new_request, images):
    call = stubs.prediction.Predict.future(new_request("serve_uint8", images=images), TIMEOUT)
    assert call.cancel()
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    stubs.prediction.Predict(new_request("serve_uint8", images=images[:1]), TIMEOUT)


def test_eight_megabytes_in_one_request(stubs, new_request, make_images):
    """More than gRPC's own limit of 4 MB, which servers and clients must lift."""
    images = make_images(1000, 700, 4)
    assert images.nbytes > 8e6
    response = stubs.prediction.Predict(
        new_request("serve_uint8", ["attributes"], images=images), TIMEOUT
    )
    assert response.outputs["attributes"].tensor_shape.dim[0].size == 4
