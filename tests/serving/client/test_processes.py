"""What the client costs a process, and what becomes of it in a child process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from far_keras.errors import ServingError

ROOT = Path(__file__).parents[3]

USE = """
import asyncio, json, sys, time
begin = time.process_time()
from far_keras.serving import AsyncFarClient, FarClient
FarClient, AsyncFarClient
seconds = time.process_time() - begin
heavy = ("tensorflow", "tensorflow_serving", "keras", "mediapipe", "cv2", "scipy", "skimage",
         "numba", "matplotlib")
def loaded():
    return [name for name in heavy if name in sys.modules]
imported = loaded()
target, path = sys.argv[1:]
async def predict():
    async with AsyncFarClient(target, "mgmtn") as client:
        return (await client.predict(path)).ok
with FarClient(target, "mgmtn") as client:
    assert client.predict(path).ok and client.is_ready() and client.metadata()
    assert client.description.attributes[0] == "Red"
assert asyncio.run(predict())
print(json.dumps({"seconds": seconds, "imported": imported, "used": loaded()}))
"""


def python(code, *arguments, timeout=60):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_neither_import_nor_use_loads_tensorflow(target, encoded, tmp_path):
    (tmp_path / "face.png").write_bytes(encoded(9))
    runs = [json.loads(python(USE, target, tmp_path / "face.png")[-1]) for _ in range(3)]
    assert runs[0]["imported"] == runs[0]["used"] == []
    # Of the processor, since other processes may be running; the best of three.
    assert min(run["seconds"] for run in runs) <= 0.4


def test_both_kinds_of_messages_in_one_process(client, make_image):
    """Ours and TensorFlow's are in one descriptor pool here: this process has loaded both."""
    from tensorflow_serving.apis import predict_pb2 as theirs

    from far_keras.serving.messages import serving_pb2 as ours

    assert client.predict(make_image(1)).ok
    assert theirs.PredictRequest.DESCRIPTOR.full_name == "tensorflow.serving.PredictRequest"
    assert ours.PredictRequest.DESCRIPTOR.full_name == "far_keras.messages.PredictRequest"


FORK = """
import os, sys
from far_keras.errors import ServingError
from far_keras.serving import FarClient
import numpy as np
face = np.zeros((4, 4, 3), np.uint8)
client = FarClient(sys.argv[1], "mgmtn")
assert client.predict(face).ok
child = os.fork()
if child == 0:
    for call in (lambda: client.predict(face), lambda: client.predict([face]), client.is_ready):
        try:
            call()
            os._exit(1)
        except ServingError as error:
            assert "fork" in str(error) and str(os.getppid()) in str(error)
    client.close()
    with FarClient(sys.argv[1], "mgmtn") as own:
        assert own.predict(face).ok
    os._exit(0)
_, status = os.waitpid(child, 0)
assert client.predict(face).ok  # the parent's connection is none the worse
client.close()
print(os.waitstatus_to_exitcode(status))
"""


def test_a_child_process_must_open_its_own(target):
    assert python(FORK, target)[-1] == "0"


def test_the_process_is_checked_at_each_call(client, monkeypatch, make_image):
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    with pytest.raises(ServingError, match="'spawn'"):
        client.predict(make_image(1))


CALLS = """
import resource, sys
from pathlib import Path
import numpy as np
from far_keras.serving import FarClient
face, file = np.zeros((64, 64, 3), np.uint8), Path(sys.argv[2]).read_bytes()
def some(client, count):
    for _ in range(count):
        client.predict(face)
    for result in client.stream(file for _ in range(count)):
        assert result.ok
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
with FarClient(sys.argv[1], "mgmtn") as client:
    some(client, 500)
    before = some(client, 500)
    print(some(client, 2000) - before)
"""


@pytest.mark.slow
def test_thousands_of_calls_leave_memory_as_it_is(target, encoded, tmp_path):
    (tmp_path / "face.png").write_bytes(encoded(9))
    grown = int(python(CALLS, target, tmp_path / "face.png")[-1])
    # 4,000 responses: one kilobyte held of each would be 4 MB.
    assert grown < 2 << 20
