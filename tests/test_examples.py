"""The notebooks in examples/ run from top to bottom; the service stands many clients."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.ipynb")))
def test_a_notebook_runs(name, tmp_path):
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs"
    client = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises what a cell raises
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.fixture
def service():
    """The address of a running service.py."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port)]
    process = subprocess.Popen([*command, "--log-level", "warning"], cwd=EXAMPLES)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        process.terminate()
        process.wait(timeout=30)


def post(address, content):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(address, content, method="POST"), timeout=60) as reply:
        return json.load(reply)


def test_16_clients_of_the_service_get_their_own_results(service):
    photograph = (EXAMPLES.parent / "far_keras" / "quickstart" / "astronaut.jpg").read_bytes()
    blank = EXAMPLES.parent / "docs" / "images" / "network.svg"
    expected = post(service, photograph)
    assert expected["status"] == "ok" and len(expected["faces"]) == 1
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: post(service, photograph), range(64)))
    assert results == [expected] * 64
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(service, blank.read_bytes())
    assert caught.value.code == 422 and "expected an image" in caught.value.read().decode()
