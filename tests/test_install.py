"""The wheel in clean environments: the core, and each extra without the others."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from far_keras.errors import MissingExtraError
from far_keras.extras import EXTRAS, require, require_modules

ROOT = Path(__file__).parents[1]
PHOTOGRAPH = ROOT / "far_keras" / "quickstart" / "astronaut.jpg"

# What each extra is for, as a program that succeeds with the core and that extra only.
PROGRAMS = {
    "train": """
from far_keras.models.variants import build_model
from far_keras.training.config import TrainConfig
from far_keras.datasets.annotate import annotate
import far_keras.training.trainer, far_keras.evaluation.evaluate, far_keras.datasets.pipeline
import mediapipe
""",
    "export": """
from far_keras.export.saved_model import export_saved_model
from far_keras.models.variants import pretrained_folder
print(export_saved_model(pretrained_folder(), "exported"))
import far_keras.export.tflite
""",
    "server": """
from far_keras.serving.server import Server
import far_keras.serving.server.handlers
""",
    "synthetic": """
from far_keras.synthetic.dataset import synthesize
if __name__ == "__main__":
    synthesize("faces", 2, workers=1)
""",
    "parquet": """
from far_keras.cli import main
import pyarrow.parquet
main(["predict", "photo.jpg", "--out", "table.parquet"])
assert pyarrow.parquet.read_table("table.parquet").num_rows == 1
""",
    "video": """
import numpy as np
from far_keras.recognition.video import VideoReader, open_writer
with open_writer("clip.mp4", 5) as writer:
    for level in (0, 90, 180):
        writer.write(np.full((64, 96, 3), level, np.uint8))
assert len(list(VideoReader("clip.mp4"))) == 3
""",
}

# A command of the core that needs an extra, and the extra that it names.
MISSING = {
    "annotate faces records": "train",
    "train records --output model": "train",
    "evaluate model --records records": "train",
    "summary mgmtn_efficientnetlite0": "train",
    "export": "export",
    "serve models": "server",
    "synthesize faces --count 1": "synthetic",
    "quickstart": "train",
    "predict photo.jpg --out table.parquet": "parquet",
    "predict clip.mp4 --json": "video",
}


def test_extras_are_those_of_the_metadata():
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = metadata["optional-dependencies"]
    assert set(EXTRAS) < set(extras)
    assert extras["all"] == [f"far_keras[{','.join(sorted(EXTRAS))}]"]


def test_a_missing_extra_is_named_with_its_installation():
    with pytest.raises(MissingExtraError) as caught:
        require_modules("train", "training", ["json", "no_such_module"])
    assert str(caught.value) == (
        "training needs no_such_module, which the extra 'train' installs: "
        "pip install 'far_keras[train]'"
    )
    for extra in EXTRAS:
        require(extra, "this test")  # all are installed here


def run(*command, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=environment, **options
    )


def uv(*arguments):
    done = run(sys.executable, "-m", "uv", "--quiet", *arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "far_keras", source / "far_keras")  # not an old build folder
    uv("build", "--wheel", "--out-dir", str(folder), str(source))
    return next(folder.glob("*.whl"))


@pytest.fixture
def install(wheel, tmp_path):
    """Creates an environment with the wheel and an extra; returns its folder."""

    def create(extra=""):
        uv("venv", "--python", sys.executable, str(tmp_path / "env"))
        python = tmp_path / "env" / "bin" / "python"
        uv("pip", "install", "--python", str(python), f"far_keras{extra} @ file://{wheel}")
        (tmp_path / "photo.jpg").write_bytes(PHOTOGRAPH.read_bytes())
        return python

    return create


@pytest.mark.slow
def test_the_core_predicts_and_names_what_is_missing(install, tmp_path):
    python = install()
    size = sum(f.stat().st_size for f in (tmp_path / "env").rglob("*") if f.is_file())
    assert size < 600e6
    done = run(python, "-m", "far_keras.cli", "predict", "photo.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Smiling" in done.stdout
    done = run(python, "-c", "import far_keras; print(far_keras.FarClient)")
    assert done.returncode == 0, done.stderr
    (tmp_path / "clip.mp4").write_bytes(b"\\0" * 100)
    (tmp_path / "models").mkdir()
    for command, extra in MISSING.items():
        done = run(python, "-m", "far_keras.cli", *command.split(), cwd=tmp_path)
        assert done.returncode != 0
        line = done.stderr.splitlines()[-1]
        assert line.endswith(f"pip install 'far_keras[{extra}]'"), (command, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(PROGRAMS))
def test_an_extra_is_enough_for_its_purpose(install, tmp_path, extra):
    python = install(f"[{extra}]")
    (tmp_path / "program.py").write_text(PROGRAMS[extra])
    done = run(python, "program.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run(sys.executable, "-m", "uv", "pip", "check", "--python", str(python)).returncode == 0
