"""serving/tls/make_certificates.sh, with the openssl and gRPC of this machine."""

import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from far_keras.serving.server import Server, ServerConfig, TlsFiles

SCRIPT = Path(__file__).parents[2] / "serving" / "tls" / "make_certificates.sh"
TIMEOUT = 20


def make(folder, *hosts):
    return subprocess.run(
        [SCRIPT, folder, *hosts], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("not checked: certificates, without the program openssl; install it")
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    done = make(folder, "localhost", "127.0.0.1")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(certificates, small_sums):
    files = (certificates / name for name in ("server.crt", "server.key", "ca.crt"))
    with Server(ServerConfig(models=small_sums, port=0, tls=TlsFiles(*files))) as server:
        yield server.address


def get_status(address, credentials):
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "sums"
    options = [("grpc.max_connection_backoff_ms", 100)]
    if credentials is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, credentials, options)
    with channel:
        return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(message, TIMEOUT)


def credentials(folder, *names):
    return grpc.ssl_channel_credentials(*((folder / name).read_bytes() for name in names))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_client_with_a_certificate(address, certificates, host):
    port = address.rpartition(":")[2]
    answer = get_status(
        f"{host}:{port}", credentials(certificates, "ca.crt", "client.key", "client.crt")
    )
    assert len(answer.model_version_status) == 1


@pytest.mark.parametrize("case", ["no certificate", "no TLS", "another authority", "not a client"])
def test_every_other_client_is_refused(address, certificates, tmp_path, case):
    if case == "no TLS":
        offered = None
    elif case == "no certificate":
        offered = credentials(certificates, "ca.crt")
    elif case == "not a client":
        # The server's own certificate is for servers.
        offered = credentials(certificates, "ca.crt", "server.key", "server.crt")
    else:
        make(tmp_path, "localhost")
        offered = grpc.ssl_channel_credentials(
            (certificates / "ca.crt").read_bytes(),
            (tmp_path / "client.key").read_bytes(),
            (tmp_path / "client.crt").read_bytes(),
        )
    with pytest.raises(grpc.RpcError) as caught:
        get_status(address, offered)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_server_of_another_authority_is_not_trusted(address, certificates, tmp_path):
    make(tmp_path, "localhost")
    files = (tmp_path / "ca.crt", certificates / "client.key", certificates / "client.crt")
    with pytest.raises(grpc.RpcError) as caught:
        get_status(address, grpc.ssl_channel_credentials(*(path.read_bytes() for path in files)))
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_private_keys_are_for_the_owner_alone(certificates):
    for path in certificates.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_second_run_keeps_the_authority(certificates, tmp_path):
    folder = shutil.copytree(certificates, tmp_path / "again")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert make(folder, "localhost").returncode == 0
    changed = {path.name for path in folder.iterdir() if path.read_bytes() != before[path.name]}
    assert changed == {"server.key", "server.crt", "client.key", "client.crt", "ssl.config"}


@pytest.mark.parametrize("arguments", [(), ("folder",)])
def test_without_a_host_it_prints_its_usage(arguments, tmp_path):
    done = subprocess.run(
        [SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2 and "FOLDER HOST" in done.stderr
    assert not list(tmp_path.iterdir())
