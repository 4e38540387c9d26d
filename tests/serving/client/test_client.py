import threading
import time

import numpy as np
import pytest

from far_keras.errors import (
    ImageError,
    ModelNotFoundError,
    RequestError,
    ResponseError,
    ServingError,
    UnavailableError,
)
from far_keras.serving import FarClient


def reds(results):
    return [round(result.probabilities["Red"] * 255) for result in results]


def test_one_image_in_every_form(client, service, make_image, encoded, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(encoded(77))
    for given in (path, str(path), path.read_bytes(), make_image(77), bytearray(encoded(77))):
        result = client.predict(given)
        assert result.ok
        assert reds([result]) == [77]
        assert result.file == (str(path) if isinstance(given, str | type(path)) else "image")
        assert (result.model, result.version) == ("mgmtn", 3)
    assert client.predict(encoded(200, "jpeg")).probabilities["Red"] == pytest.approx(
        200 / 255, abs=0.01
    )


def test_a_result_holds_the_model_s_outputs(client, make_image):
    result = client.predict(make_image(128, green=64))
    assert list(result.probabilities) == ["Red", "Green"]  # the untrained attribute is left out
    assert result.thresholds == {"Red": 0.25, "Green": 0.5}
    assert result.decisions == {"Red": True, "Green": False}
    assert result.groups == ("Eyes", "Hair")
    assert result.group_of["Green"] == "Hair"
    # The server counts up along (h, w, G): each group takes every second value.
    expected = np.linspace(0, 128 / 255, 40, dtype=np.float32).reshape(5, 4, 2)
    assert result.masks.shape == (2, 5, 4)
    np.testing.assert_allclose(result.masks[1], expected[..., 1], rtol=1e-6)
    assert result.certainty("Red") > 0.5 > result.certainty("Green")
    assert client.predict(make_image(128), masks=False).masks is None


def test_a_result_cannot_be_changed(client, make_image):
    with pytest.raises(AttributeError):
        client.predict(make_image(1)).version = 4


def test_without_masks_only_attributes_are_requested(client, service, make_image):
    result = client.predict(make_image(9), masks=False)
    assert result.groups == ()
    assert list(service.requests[-1].output_filter) == ["attributes"]


def test_a_model_without_masks(client, service, make_image):
    service.masks = False
    assert client.predict(make_image(9)).masks is None
    assert set(client.predict_aligned(make_image(9)[None])) == {"attributes", "logits"}
    assert "masks" not in client.predict_aligned(np.zeros((0, 4, 4, 3), np.uint8))


@pytest.mark.parametrize("float_val", [False, True])
def test_both_encodings_of_responses(client, service, make_image, float_val):
    service.float_val = float_val
    result = client.predict(make_image(51))
    assert result.probabilities["Red"] == pytest.approx(0.2, abs=1e-6)
    assert result.masks.max() == pytest.approx(0.2, abs=1e-6)


def test_many_come_back_in_order_and_in_batches(target, service, make_image, encoded):
    with FarClient(target, "mgmtn", batch_size=4) as client:
        sources = [encoded(i) if i % 3 else make_image(i) for i in range(40)]
        assert reds(client.predict(sources)) == list(range(40))
        assert reds(client.predict(iter(sources))) == list(range(40))
        results = client.predict(np.stack([make_image(i) for i in range(10)]))
        assert reds(results) == list(range(10))
        assert [result.file for result in results[:2]] == ["image 0", "image 1"]
    shapes = [request.inputs["images"].tensor_shape.dim for request in service.requests[-3:]]
    assert sorted(shape[0].size for shape in shapes) == [2, 4, 4]


def test_arrays_of_other_sizes_go_into_other_requests(client, service, make_image):
    sources = [make_image(1), make_image(2, (8, 8)), make_image(3, (8, 8)), make_image(4)]
    assert reds(client.predict(sources)) == [1, 2, 3, 4]
    assert len(service.requests) == 1 + 3  # the description, then three shapes in a row


def test_no_images_no_results(client):
    assert client.predict([]) == []


def test_results_keep_their_order_when_responses_do_not(target, service, make_image):
    def slow_at_first(request, context):
        if request.model_spec.signature_name == "serve_uint8":
            time.sleep(0.2 if len(service.requests) < 4 else 0)

    service.before = slow_at_first
    with FarClient(target, "mgmtn", batch_size=1, in_flight=3) as client:
        assert reds(client.stream(make_image(i) for i in range(30))) == list(range(30))
    assert 2 <= service.most_at_once <= 3


def test_an_endless_generator_is_taken_bit_by_bit(target, service, make_image):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield make_image(len(taken) % 256)

    with FarClient(target, "mgmtn", batch_size=5, in_flight=2) as client:
        stream = client.stream(endless())
        for index in range(103):
            next(stream)
            # What has not come back yet: two batches on their way, and the rest of the one begun.
            assert len(taken) <= index + 1 + 3 * 5
        stream.close()
        assert client.predict(make_image(3)).ok  # the client still works


def test_a_broken_image_in_a_batch_stands_alone(client, service, encoded, tmp_path):
    sources = [encoded(i) for i in range(16)]
    sources[5] = b"not an image"
    sources[11] = tmp_path / "missing.jpg"
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff truncated")
    sources[12] = tmp_path / "broken.jpg"
    sources[13] = "nul\0path"
    sources[14] = 3.5
    (tmp_path / "empty.jpg").touch()
    sources[15] = tmp_path / "empty.jpg"
    results = client.predict(sources)
    bad = {5, 11, 12, 13, 14, 15}
    assert {i for i, result in enumerate(results) if not result.ok} == bad
    assert reds(results[i] for i in range(16) if i not in bad) == sorted(set(range(16)) - bad)
    for index in (5, 12):
        assert isinstance(results[index].error, RequestError)
        assert results[index].error.code == "INVALID_ARGUMENT"
        assert results[index].file in str(results[index].error)
    for index in (11, 13, 14, 15):
        assert isinstance(results[index].error, ImageError)
    assert results[5].probabilities == {}
    # The description, the batch of 12, and for each of two broken ones both halves of 4 levels.
    assert len(service.requests) <= 1 + 1 + 2 * 2 * 4


def test_one_bad_image_alone_raises(client, encoded, tmp_path):
    with pytest.raises(RequestError, match=r"image: .*not a JPEG or PNG.*JPEG or PNG"):
        client.predict(b"not an image")
    with pytest.raises(ImageError, match=r"missing\.jpg: cannot read"):
        client.predict(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="a folder"):
        client.predict(tmp_path)
    with pytest.raises(ImageError, match=r"Received: dtype float64, shape \(4, 4, 3\)"):
        client.predict(np.zeros((4, 4, 3)))
    with pytest.raises(ImageError, match=r"shape \(4, 4\)"):
        client.predict(np.zeros((4, 4), np.uint8))


def test_a_batch_too_large_for_a_message_is_cut(target, service, make_image):
    large = [make_image(i, (2000, 2500)) for i in range(5)]  # 15 MB each
    with FarClient(target, "mgmtn", timeout=60) as client:
        assert reds(client.predict(large)) == list(range(5))
        with pytest.raises(ImageError, match="scale the image down"):
            client.predict(np.zeros((5000, 5000, 3), np.uint8))
    largest = max(request.ByteSize() for request in service.requests)
    assert 2 * large[0].nbytes < largest <= 32 << 20  # two a message


def test_a_response_too_large_is_requested_in_parts(target, service, make_image):
    def too_large(request, context):
        if request.inputs["images"].tensor_shape.dim and (
            request.inputs["images"].tensor_shape.dim[0].size > 2
        ):
            response = service.respond(request, context)
            response.outputs["more"].tensor_content = bytes(65 << 20)
            return response

    service.before = too_large
    with FarClient(target, "mgmtn", timeout=60) as client:
        assert reds(client.predict([make_image(i) for i in range(4)])) == list(range(4))


def test_aligned_arrays(target, make_image):
    faces = np.stack([make_image(i) for i in range(7)])
    with FarClient(target, "mgmtn", batch_size=3) as client:
        outputs = client.predict_aligned(faces)
        assert {name: value.shape for name, value in outputs.items()} == {
            "attributes": (7, 3), "logits": (7, 3), "masks": (7, 5, 4, 2),
        }  # fmt: skip
        np.testing.assert_allclose(outputs["attributes"][:, 0], np.arange(7) / 255, atol=1e-6)
        empty = client.predict_aligned(faces[:0])
        assert empty["masks"].shape == (0, 5, 4, 2)
        with pytest.raises(RequestError, match=r"Received: dtype float32"):
            client.predict_aligned(faces.astype(np.float32))


def test_the_description_is_requested_once_per_version(client, service, make_image):
    def described():
        return [r.model_spec for r in service.requests if r.model_spec.signature_name == "describe"]

    assert client.description.thresholds["Red"] == 0.25
    for _ in range(5):
        client.predict(make_image(1))
    assert len(described()) == 1
    service.version = 4
    assert client.predict(make_image(1)).version == 4
    assert client.predict(make_image(1)).version == 4
    assert [spec.version.value for spec in described()] == [0, 4]


def test_a_version_that_is_unloaded_before_it_is_described(client, service, make_image):
    client.predict(make_image(1))

    def two_reloads(request, context):
        if request.model_spec.signature_name == "serve_uint8" and service.version == 3:
            service.version = 4
            response = service.respond(request, context)
            service.version = 5
            return response

    service.before = two_reloads
    assert client.predict(make_image(1)).version == 5


def test_a_model_without_description(client, service, make_image):
    service.described = False
    with pytest.raises(RequestError, match=r"'describe'.*predict_raw"):
        client.predict(make_image(1))
    with pytest.raises(RequestError, match="'describe'"):
        client.predict([make_image(1)] * 40)
    outputs = client.predict_raw({"images": make_image(51)[None]}, "serve_uint8", ["attributes"])
    assert list(outputs) == ["attributes"]
    assert outputs["attributes"][0, 0] == pytest.approx(0.2)


def test_version_and_label_are_sent(target, service, make_image):
    with FarClient(target, "mgmtn", version=3) as client:
        client.predict(make_image(1))
        assert service.requests[-1].model_spec.version.value == 3
    with FarClient(target, "mgmtn", label="stable") as client:
        client.predict(make_image(1))
        assert service.requests[-1].model_spec.version_label == "stable"
    with FarClient(target, "mgmtn", version=9) as client:
        with pytest.raises(ModelNotFoundError, match=r"'mgmtn', version 9.*NOT_FOUND"):
            client.predict(make_image(1))
        with pytest.raises(ModelNotFoundError):
            next(client.stream([make_image(1)]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda outputs: outputs["attributes"].tensor_shape.dim[0].__setattr__("size", 7),
        lambda outputs: (
            outputs["attributes"].float_val.extend([float("nan")] * 3)
            or outputs["attributes"].ClearField("tensor_content")
        ),
        lambda outputs: outputs.pop("attributes"),
        lambda outputs: outputs.pop("masks"),
        lambda outputs: outputs["masks"].__setattr__("dtype", 1 + 22),
        lambda outputs: outputs["masks"].__setattr__("dtype", 99),
        lambda outputs: outputs["masks"].tensor_shape.__setattr__("unknown_rank", True),
        lambda outputs: outputs["attributes"].tensor_shape.dim[0].__setattr__("size", 1 << 60),
    ],
)
def test_a_response_that_contradicts_the_description(client, service, make_image, spoil):
    def before(request, context):
        response = service.respond(request, context)
        if request.model_spec.signature_name == "serve_uint8":
            spoil(response.outputs)
        return response

    service.before = before
    with pytest.raises(
        ResponseError, match=r"^127\.0\.0\.1:\d+: model 'mgmtn'.*expected.*Received.*server's log"
    ):
        client.predict(make_image(1))
    (result,) = client.predict([make_image(1)])
    assert isinstance(result.error, ResponseError)


def test_a_closed_client_raises(target, make_image):
    client = FarClient(target, "mgmtn")
    client.predict(make_image(1))
    client.close()
    client.close()
    for call in (client.status, client.is_ready, lambda: client.predict(make_image(1))):
        with pytest.raises(ServingError, match="closed; open another"):
            call()


def test_closing_ends_calls_on_their_way(target, service, make_image):
    client = FarClient(target, "mgmtn", timeout=30)
    client.predict(make_image(1))
    waiting, go_on = threading.Event(), threading.Event()
    service.before = lambda request, context: waiting.set() or (go_on.wait(20) and None)
    caught = []

    def call():
        try:
            client.predict(make_image(1))
        except ServingError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert waiting.wait(5)
    client.close()
    thread.join(5)
    go_on.set()
    assert "closed" in str(caught[0])


def endless(make_image):
    while True:
        yield make_image(1)


def test_a_stream_that_ends_early_cancels_what_is_on_its_way(target, service, make_image):
    go_on, ended = threading.Event(), []

    def wait(request, context):
        if request.model_spec.signature_name == "serve_uint8":
            context.add_callback(lambda: ended.append(go_on.is_set()))
            go_on.wait(20)

    def images():
        yield from (make_image(i) for i in range(3))
        assert wait_until(lambda: len(service.requests) == 1 + 3)
        raise KeyError("the source fails")

    service.before = wait
    with FarClient(target, "mgmtn", timeout=30, batch_size=1, in_flight=8) as client:
        begin = time.monotonic()
        with pytest.raises(KeyError):
            list(client.stream(images()))
        assert time.monotonic() - begin < 10
        assert wait_until(lambda: ended == [False] * 3)
        go_on.set()
        assert client.predict(make_image(3)).ok


def test_closing_the_client_ends_an_endless_stream(target, service, make_image):
    client = FarClient(target, "mgmtn", timeout=30, batch_size=1)
    threading.Timer(0.3, client.close).start()
    with pytest.raises(ServingError, match="closed; open another"):
        for _ in client.stream(endless(make_image)):
            pass


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_threads_share_a_client(client, make_image):
    wrong = []

    def work(start):
        for i in range(start, start + 40):
            if reds([client.predict(make_image(i % 256))]) != [i % 256]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(40 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_one_connection_for_all_calls(client, service, make_image):
    list(client.stream(make_image(i) for i in range(40)))
    client.predict(make_image(1))
    assert len(set(service.peers)) == 1


def test_no_server(make_image):
    with FarClient("127.0.0.1:9", "mgmtn", retries=1, timeout=5) as client:
        assert not client.is_ready()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9: model 'mgmtn'.*UNAVAILABLE"):
            client.predict(make_image(1))
        with pytest.raises(UnavailableError):
            client.predict([make_image(1)])
