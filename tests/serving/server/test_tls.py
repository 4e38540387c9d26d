import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from far_keras.errors import ServerError
from far_keras.serving.server import Server, ServerConfig, TlsFiles


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority with certificates of a server and a client, and a stranger."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(text):
        subprocess.run(
            ["openssl", *text.split()], cwd=folder, check=True, capture_output=True, timeout=60
        )

    new = (
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {0}.key -subj /CN={0}"
    )
    for name in ("ca", "stranger"):
        openssl(new.format(name) + f" -x509 -out {name}.pem -days 2")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(new.format(name) + f" -out {name}.csr")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            f"-out {name}.pem -extfile names"
        )
    openssl("ec -in server.key -aes256 -passout pass:secret -out locked.key")
    (folder / "text.pem").write_text("no certificate")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    return folder


def is_serving(address, credentials):
    with grpc.secure_channel(address, credentials) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        return check(health_pb2.HealthCheckRequest(), timeout=5).status == 1


def credentials(pki, authority="ca", own=None):
    key = None if own is None else (pki / f"{own}.key").read_bytes()
    chain = None if own is None else (pki / f"{own}.pem").read_bytes()
    return grpc.ssl_channel_credentials((pki / f"{authority}.pem").read_bytes(), key, chain)


def test_the_server_shows_its_certificate(pki, models):
    tls = TlsFiles(pki / "server.pem", pki / "server.key")
    with Server(ServerConfig(models=models, port=0, tls=tls)) as server:
        assert is_serving(server.address, credentials(pki))
        with pytest.raises(grpc.RpcError) as caught:
            is_serving(server.address, credentials(pki, "stranger"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_callers_must_show_theirs(pki, models):
    tls = TlsFiles(pki / "server.pem", pki / "server.key", pki / "ca.pem")
    with Server(ServerConfig(models=models, port=0, tls=tls)) as server:
        assert is_serving(server.address, credentials(pki, own="client"))
        for own in (None, "stranger"):
            with pytest.raises(grpc.RpcError) as caught:
                is_serving(server.address, credentials(pki, own=own))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "says"),
    [
        ("server.pem", "client.key", None, "expected the private key of .*server.pem"),
        ("text.pem", "server.key", None, "text.pem, .*in PEM format"),
        ("server.pem", "text.pem", None, "in PEM format"),
        ("server.pem", "locked.key", None, "without a password"),
        ("nowhere.pem", "server.key", None, "nowhere.pem: cannot read it"),
        ("server.pem", "server.key", "text.pem", "text.pem: expected certificates"),
        ("server.pem", "server.key", "nowhere.pem", "nowhere.pem: cannot read it"),
    ],
)
def test_files_that_do_not_fit(pki, models, certificate, key, authority, says):
    files = TlsFiles(pki / certificate, pki / key, authority and pki / authority)
    with pytest.raises(ServerError, match=says):
        Server(ServerConfig(models=models, port=0, tls=files)).start()
