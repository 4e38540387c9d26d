import time

import grpc
import pytest

from far_keras.errors import DeadlineError, OverloadedError, RequestError, UnavailableError
from far_keras.serving import FarClient, Tls
from far_keras.serving.channel import (
    MAX_MESSAGE_BYTES,
    Deadline,
    Retry,
    channel_options,
    check_target,
)

DOWN = UnavailableError("down", "UNAVAILABLE")


@pytest.mark.parametrize(
    "target",
    ["localhost:8500", "10.0.0.1:1", "[::1]:8500", "[fe80::1%eth0]:65535", "far-server.example:80",
     "unix:/run/far.sock", "dns:///far.example:8500", "ipv6:[::1]:8500", " localhost:8500 "],
)  # fmt: skip
def test_addresses(target):
    assert check_target(target) == target.strip()


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("localhost", "add the port"),
        ("", "add the port"),
        ("::1:8500", r"\[::1\]:8500"),
        ("http://localhost:8500", "no http://"),
        ("localhost:0", "between 1 and 65535"),
        ("localhost:70000", "between 1 and 65535"),
        ("localhost:port", "add the port"),
        ("local host:8500", "port"),
        (8500, "type int"),
        (None, "type NoneType"),
    ],
)
def test_what_is_no_address(target, advice):
    with pytest.raises(RequestError, match=advice):
        FarClient(target, "mgmtn")


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": ""},
        {"model": None},
        {"version": 0},
        {"version": "3"},
        {"version": True},
        {"label": ""},
        {"version": 1, "label": "stable"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": "10"},
        {"retries": -1},
        {"retries": 1.5},
        {"batch_size": 0},
        {"in_flight": 0},
        {"tls": 3},
    ],
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(RequestError, match=rf"{next(iter(arguments))}.*Received"):
        FarClient("localhost:8500", **{"model": "mgmtn", **arguments})


def test_the_settings_of_a_channel():
    options = dict(channel_options(Tls(server_name="far.test")))
    assert options["grpc.max_send_message_length"] == MAX_MESSAGE_BYTES == 64 * 1024 * 1024
    assert options["grpc.max_receive_message_length"] == MAX_MESSAGE_BYTES
    assert options["grpc.keepalive_time_ms"] >= 300_000  # servers hang up on more pings than that
    assert options["grpc.ssl_target_name_override"] == "far.test"
    assert "grpc.ssl_target_name_override" not in dict(channel_options(None))


def test_ipv6(start, service, make_image):
    try:
        port = start(service, "[::1]:0")
    except RuntimeError:
        pytest.skip("this machine has no IPv6")
    with FarClient(f"[::1]:{port}", "mgmtn") as client:
        assert client.predict(make_image(1)).ok


def test_a_unix_socket(start, service, make_image, tmp_path):
    start(service, f"unix:{tmp_path}/s")
    with FarClient(f"unix:{tmp_path}/s", "mgmtn") as client:
        assert client.predict(make_image(1)).ok


@pytest.fixture
def tls_target(start, service, certificates):
    """A server with TLS; with `mutual` it requires the client's certificate."""

    def open_port(mutual=False):
        pair = tuple((certificates / f"server.{end}").read_bytes() for end in ("key", "pem"))
        credentials = grpc.ssl_server_credentials(
            [pair], (certificates / "ca.pem").read_bytes() if mutual else None, mutual
        )
        return f"127.0.0.1:{start(service, credentials=credentials)}"

    return open_port


def test_tls(tls_target, certificates, make_image):
    tls = Tls(ca=certificates / "ca.pem", server_name="far.test")
    with FarClient(tls_target(), "mgmtn", tls=tls) as client:
        assert client.predict(make_image(1)).ok


def test_mutual_tls(tls_target, certificates, make_image):
    target = tls_target(mutual=True)
    own = {"certificate": certificates / "client.pem", "key": certificates / "client.key"}
    tls = Tls(ca=certificates / "ca.pem", server_name="far.test", **own)
    with FarClient(target, "mgmtn", tls=tls) as client:
        assert client.predict(make_image(1)).ok
    without = Tls(ca=certificates / "ca.pem", server_name="far.test")
    refused(target, without, make_image, "client('s own)? certificate")


def refused(target, tls, make_image, words="UNAVAILABLE"):
    begin = time.monotonic()
    with FarClient(target, "mgmtn", tls=tls, timeout=3, retries=1) as client:
        assert not client.is_ready()
        with pytest.raises(UnavailableError, match=words):
            client.predict(make_image(1))
    assert time.monotonic() - begin < 6


def test_wrong_certificates(tls_target, certificates, make_image):
    target = tls_target()
    encrypted = "the encrypted connection failed"
    for tls in (
        Tls(ca=certificates / "stranger.pem", server_name="far.test"),
        Tls(ca=certificates / "ca.pem", server_name="other.test"),
        certificates / "ca.pem",  # the certificate bears far.test, not 127.0.0.1
        True,
    ):
        refused(target, tls, make_image, encrypted)
    refused(target, None, make_image, "wants TLS")  # in the clear to a port that is encrypted


def test_tls_to_a_port_in_the_clear(target, certificates, make_image):
    refused(target, certificates / "ca.pem", make_image, "the encrypted connection failed")


def test_files_that_are_no_certificates(certificates, tmp_path):
    (tmp_path / "der.pem").write_bytes(b"\x30\x82\x01")
    for tls, reason in (
        (tmp_path / "none.pem", r"tls, ca: .*none\.pem: cannot read the file: No such file"),
        (tmp_path / "der.pem", r"der\.pem: expected PEM text.*Received: 3 bytes"),
        (tmp_path, "cannot read the file: Is a directory"),
    ):
        with pytest.raises(RequestError, match=reason):
            FarClient("localhost:8500", "mgmtn", tls=tls)
    with pytest.raises(RequestError, match="a certificate alone"):
        Tls(certificate=certificates / "client.pem")
    with pytest.raises(RequestError, match="a key alone"):
        Tls(key=certificates / "client.key")


def test_pauses_double_up_to_the_longest_and_are_drawn_evenly():
    retry, deadline = Retry(10), Deadline(100)
    for tried, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, 2.0), (10, 2.0)):
        pauses = [retry.pause(tried, DOWN, deadline) for _ in range(500)]
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest
        # The mean of 500 even draws: its standard error is 0.013 of the range.
        assert sum(pauses) / 500 == pytest.approx(longest / 2, abs=0.07 * longest)


def test_no_more_than_the_retries_and_nothing_but_unavailable():
    deadline = Deadline(100)
    assert Retry(2).pause(2, DOWN, deadline) is not None
    assert Retry(2).pause(3, DOWN, deadline) is None
    assert Retry(0).pause(1, DOWN, deadline) is None
    for error in (DeadlineError("late"), OverloadedError("full"), RequestError("wrong")):
        assert Retry(2).pause(1, error, deadline) is None


def test_no_pause_beyond_the_deadline():
    late = Deadline(0)
    assert late.left() <= 0
    assert Retry(5).pause(1, DOWN, late) is None
    for _ in range(100):
        pause = Retry(50).pause(20, DOWN, Deadline(0.5))
        assert pause is None or pause < 0.5
