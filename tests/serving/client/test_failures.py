"""Servers that refuse, hang, lie and come back: what the client makes of them, and how soon."""

import pickle
import socket
import time

import grpc
import pytest

from far_keras import errors
from far_keras.errors import (
    DeadlineError,
    FarError,
    ModelNotFoundError,
    OverloadedError,
    RequestError,
    ResponseError,
    ServingError,
    UnavailableError,
)
from far_keras.serving import FarClient


def aborts(code, times=10**9, text="no"):
    """Fails the first `times` calls, then succeeds; descriptions always succeed."""
    left = [times]

    def before(request, context):
        if request.model_spec.signature_name != "describe" and left[0]:
            left[0] -= 1
            context.abort(code, text)

    return before


def predict_calls(service):
    return sum(r.model_spec.signature_name != "describe" for r in service.requests)


@pytest.fixture
def seconds():
    """Counts seconds since the fixture was set up."""
    begin = time.monotonic()
    return lambda: time.monotonic() - begin


def test_unavailable_twice_then_available(target, service, make_image):
    with FarClient(target, "mgmtn") as client:
        service.before = aborts(grpc.StatusCode.UNAVAILABLE, times=2)
        assert client.predict(make_image(1)).ok
        assert predict_calls(service) == 3


def test_retries_are_counted(target, service, make_image):
    service.before = aborts(grpc.StatusCode.UNAVAILABLE, text="down")
    for retries in (0, 2):
        service.requests.clear()
        with (
            FarClient(target, "mgmtn", retries=retries) as client,
            pytest.raises(UnavailableError, match=r"UNAVAILABLE: down; check the address"),
        ):
            client.predict(make_image(1))
        assert predict_calls(service) == retries + 1


def test_retries_end_with_the_timeout(target, service, make_image, seconds):
    service.before = aborts(grpc.StatusCode.UNAVAILABLE)
    with (
        FarClient(target, "mgmtn", retries=10**6, timeout=0.5) as client,
        pytest.raises((UnavailableError, DeadlineError)),
    ):
        client.predict(make_image(1))
    assert seconds() < 1.5
    assert 2 < predict_calls(service) < 100  # pauses grow


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("CANCELLED", ServingError),
        ("UNKNOWN", ServingError),
        ("INVALID_ARGUMENT", RequestError),
        ("DEADLINE_EXCEEDED", DeadlineError),
        ("NOT_FOUND", ModelNotFoundError),
        ("ALREADY_EXISTS", ServingError),
        ("PERMISSION_DENIED", ServingError),
        ("RESOURCE_EXHAUSTED", OverloadedError),
        ("FAILED_PRECONDITION", RequestError),
        ("ABORTED", ServingError),
        ("OUT_OF_RANGE", RequestError),
        ("UNIMPLEMENTED", RequestError),
        ("INTERNAL", ResponseError),
        ("DATA_LOSS", ResponseError),
        ("UNAUTHENTICATED", ServingError),
    ],
)
def test_all_other_codes_are_errors_at_once(client, target, service, make_image, code, kind):
    service.before = aborts(grpc.StatusCode[code], text="what\nthe server   sent")
    with pytest.raises(FarError) as caught:
        client.predict(make_image(1))
    assert type(caught.value) is kind
    assert caught.value.code == code
    text = str(caught.value)
    assert f"{target}: model 'mgmtn': {code}: what the server sent; " in text
    assert "\n" not in text
    assert predict_calls(service) == 1
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_the_errors_are_those_that_python_has_names_for():
    assert issubclass(DeadlineError, TimeoutError)
    assert issubclass(UnavailableError, ConnectionError)
    assert issubclass(RequestError, ValueError)
    again = pickle.loads(pickle.dumps(DeadlineError("late", "DEADLINE_EXCEEDED")))
    assert (str(again), again.code) == ("late", "DEADLINE_EXCEEDED")
    assert errors.ServingError("text").code == ""


def test_a_stream_goes_on_after_every_failure(target, service, make_image):
    codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
             grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND]  # fmt: skip
    with FarClient(target, "mgmtn", batch_size=1, in_flight=1, retries=0) as client:
        client.predict(make_image(0))

        def fails(request, context):
            turn = predict_calls(service) - 2
            if turn < len(codes):
                context.abort(codes[turn], "no")

        service.before = fails
        results = list(client.stream(make_image(i) for i in range(8)))
    kinds = [type(result.error) for result in results]
    assert kinds[:4] == [UnavailableError, OverloadedError, ResponseError, ModelNotFoundError]
    assert all(result.ok for result in results[4:])


def test_a_server_that_never_responds(target, service, make_image, seconds):
    with FarClient(target, "mgmtn", timeout=0.4) as client:
        client.predict(make_image(1))
        service.before = lambda request, context: time.sleep(2)
        for call in (
            lambda: client.predict(make_image(1)),
            lambda: client.predict_aligned(make_image(1)[None]),
            lambda: client.predict_raw({}, "x"),
        ):
            begin = seconds()
            with pytest.raises(DeadlineError, match=r"longer timeout"):
                call()
            assert 0.3 < seconds() - begin < 1.0
        begin = seconds()
        results = client.predict([make_image(i) for i in range(64)])
        assert [type(result.error) for result in results] == [DeadlineError] * 64
        # Four batches side by side. A deadline is not taken for a broken image in a batch.
        assert seconds() - begin < 1.5


def test_one_deadline_for_the_description_and_the_prediction(target, service, make_image, seconds):
    service.before = lambda request, context: time.sleep(0.4)
    with FarClient(target, "mgmtn", timeout=0.6) as client, pytest.raises(DeadlineError):
        client.predict(make_image(1))
    assert seconds() < 1.2


def test_a_port_that_accepts_and_sends_nothing(make_image, seconds):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with FarClient(target, "mgmtn", timeout=0.5) as client:
            with pytest.raises((DeadlineError, UnavailableError)):
                client.predict(make_image(1))
            assert seconds() < 1.5
            assert not client.is_ready()
            with pytest.raises((DeadlineError, UnavailableError)):
                client.predict([make_image(1)] * 100)
    assert seconds() < 4


def test_a_port_that_speaks_something_else(make_image, seconds):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        target = f"127.0.0.1:{other.getsockname()[1]}"
        with FarClient(target, "mgmtn", timeout=2, retries=0) as client:
            import threading

            def speak():
                connection, _ = other.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

            thread = threading.Thread(target=speak)
            thread.start()
            with pytest.raises((DeadlineError, UnavailableError)):
                client.predict(make_image(1))
            thread.join(5)
    assert seconds() < 4


def test_garbage_instead_of_a_message(start, service, make_image):
    """Bytes that are no message, from a server that is right in everything else."""
    from concurrent import futures

    class Garbage(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff\xff")

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Garbage()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with FarClient(f"127.0.0.1:{port}", "mgmtn") as client:
            for call in (lambda: client.predict(make_image(1)), client.status, client.metadata):
                with pytest.raises(ResponseError):
                    call()
    finally:
        server.stop(0).wait()


def test_a_description_that_is_none(client, service, make_image):
    def before(request, context):
        response = service.respond(request, context)
        if request.model_spec.signature_name == "describe":
            response.outputs["json"].string_val[:] = [b'{"format": 99}']
        return response

    service.before = before
    with pytest.raises(errors.ModelError, match=r"127\.0\.0\.1.*expected a model description"):
        client.predict(make_image(1))


def test_recovery_after_a_restart(start, service, make_image, seconds):
    port = start(service)
    with FarClient(f"127.0.0.1:{port}", "mgmtn", timeout=10, retries=20) as client:
        assert client.predict(make_image(1)).ok
        start.running.pop().stop(0).wait()
        assert not client.is_ready()
        import threading

        timer = threading.Timer(1.0, start, (service, f"127.0.0.1:{port}"))
        timer.start()
        begin = seconds()
        assert client.predict(make_image(2)).ok  # waits through the restart
        timer.join()
        assert 0.9 < seconds() - begin < 6
