"""`far-keras call` and `status`, as a user types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from far_keras.cli import main

ROOT = Path(__file__).parents[3]
HEAVY = "tensorflow keras mediapipe cv2 scipy skimage numba matplotlib".split()


def far_keras_process(*arguments):
    """Runs a command as a user does, and checks that it loads no heavy module."""
    code = (
        "import sys; from far_keras.cli import main; status = main(sys.argv[1:]); "
        f"print(*(m for m in {HEAVY} if m in sys.modules), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    *lines, loaded = done.stderr.splitlines()
    assert loaded == ""
    return done.returncode, done.stdout, lines


@pytest.fixture
def far_keras(capsys):
    """Runs a command in this process: its status, output, and lines of errors."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        out, errors = capsys.readouterr()
        return status, out, errors.splitlines()

    return run


@pytest.fixture
def faces(encoded, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for red in (10, 200):
        (folder / f"{red}.png").write_bytes(encoded(red))
    return folder


def test_call(target, faces):
    (faces / "broken.png").write_bytes(b"broken")
    status, out, errors = far_keras_process("call", faces, "--target", target, "--model", "mgmtn")
    assert (status, errors) == (0, [])
    assert f"{faces / '200.png'}: mgmtn, version 3" in out.replace("\n", "")
    assert "Red 92%" in out  # odds of 200/255 over those of the threshold, 0.25
    assert "broken.png: 127.0.0.1" in out.replace("\n", "")


def test_call_as_json(far_keras, target, faces):
    status, out, _ = far_keras("call", faces, "--target", target, "--model", "mgmtn", "--json")
    assert status == 0
    results = [json.loads(line) for line in out.splitlines()]
    assert [Path(result["file"]).name for result in results] == ["10.png", "200.png"]
    assert results[1]["attributes"]["Red"] == {
        "probability": 0.7843, "threshold": 0.25, "decision": True,
    }  # fmt: skip
    assert set(results[1]["mask_areas"]) == {"Eyes", "Hair"}


def test_call_without_a_prediction(far_keras, target, faces, tmp_path):
    status, out, errors = far_keras(
        "call", tmp_path / "none.png", "--target", target, "--model", "mgmtn"
    )
    assert status == 1
    assert "cannot read the image" in out
    assert errors == ["far-keras call: no image has a prediction; the lines above say why"]
    status, _, errors = far_keras("call", faces, "--target", target, "--model", "other")
    assert status == 1
    assert len(errors) == 1
    assert f"far-keras call: {target}: model 'other': NOT_FOUND" in errors[0]


def test_status(far_keras, target):
    status, out, errors = far_keras_process("status", "--target", target, "--model", "mgmtn")
    assert (status, errors) == (0, [])
    for text in ("AVAILABLE", "old", "images: uint8 (?, ?, ?, 3)", "attributes: float (...)"):
        assert text in out
    status, out, _ = far_keras("status", "--target", target, "--model", "mgmtn", "--json")
    result = json.loads(out)
    assert result["ready"] is True
    assert [version["version"] for version in result["versions"]] == [3, 2]


def test_status_of_a_server_without_a_health_service(far_keras, target):
    status, out, _ = far_keras("status", "--target", target)
    assert status == 0
    assert f"{target}: reached, without a health service" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "localhost"], "add the port"),
        (["--target", "127.0.0.1:9", "--timeout", "1"], "UNAVAILABLE"),
        (["--target", "127.0.0.1:9", "--tls-ca", "/none.pem"], "/none.pem: cannot read"),
        (["--target", "127.0.0.1:9", "--tls-key", "/none.pem"], "a key alone"),
        (["--target", "127.0.0.1:9", "--version", "-1"], "version: expected a number from 1"),
    ],
)
def test_errors_are_one_line(far_keras, arguments, words):
    status, out, errors = far_keras("status", *arguments)
    assert (status, out) == (1, "")
    assert len(errors) == 1
    assert words in errors[0]
