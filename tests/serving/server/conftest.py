import subprocess

import pytest


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """An authority with certificates of a server and a client, and another authority."""
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
