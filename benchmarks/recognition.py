"""Measures recognition: time relative to its parts, groups, two processes, memory.

    python benchmarks/recognition.py                     # times, with an untrained network
    python benchmarks/recognition.py --model models/mgmtn
    python benchmarks/recognition.py --folder 400        # also folders, with 1 and 2 processes
    python benchmarks/recognition.py --calls 10000       # also whether memory grows
    python benchmarks/recognition.py --model far_keras/pretrained/mgmtn_efficientnetlite0 --start 5

Times are processor time on one core, medians of alternating rounds: other work on the machine
hardly changes them. Folders are timed by the clock, alternating too, so they need calm cores, and
so are new processes of `far-keras predict` (`--start`), with the model's folder as it is and
without its ``network.tflite``. The photographs are made of scikit-image's astronaut.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

from far_keras.faces.alignment import align
from far_keras.images import read_image, resize_image
from far_keras.models.storage import WEIGHTLESS, save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.recognition.batch import predict_to_file
from far_keras.recognition.recognizer import Recognizer
from far_keras.schema import CELEBA

SIZE = (1600, 1200)  # of the photographs: width and height
PORTRAIT = (178, 218)  # as CelebA's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a trained model's folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=int, default=0, metavar="IMAGES")
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, metavar="ROUNDS")
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as work:
        model = options.model or untrained(Path(work) / "model")
        if options.start:
            starts(model, Path(work), options.start)
        if options.folder:
            folders(model, Path(work), options.folder, options.rounds)
        os.sched_setaffinity(0, {min(cores)})
        os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
        with Recognizer.load(model) as recognizer:
            parts(recognizer, options.rounds)
            groups(recognizer, options.rounds)
            if options.calls:
                memory(recognizer, options.calls)


def untrained(folder: Path) -> Path:
    config = ModelConfig("mgmtn_efficientnetlite0", {"image_size": 128})
    return save_model(build_model(config), folder, config=config, schema=CELEBA)


def photograph(faces: int, width: int, size: tuple[int, int] = SIZE) -> bytes:
    """A JPEG with so many copies of the astronaut's head, whose faces are `width` pixels wide."""
    scale = width / 95  # the face's width in the original
    head = Image.fromarray(astronaut()).crop((120, 0, 340, 250))
    head = head.resize((round(220 * scale), round(250 * scale)), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", size, (90, 100, 110))
    columns = max(1, size[0] // head.width)
    for index in range(faces):
        row, column = divmod(index, columns)
        canvas.paste(head, (column * head.width, row * head.height))
    file = io.BytesIO()
    canvas.save(file, "JPEG", quality=92)
    return file.getvalue()


def medians(rounds: int, tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of processor time of each task, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            started = time.process_time()
            task()
            if turn:  # the first only warms up
                times[name].append(1000 * (time.process_time() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def parts(recognizer: Recognizer, rounds: int) -> None:
    table = Table(title="a photograph: ms on one core", title_justify="left")
    names = ("decode", "find the face", "model", "align (beyond the sum)", "photograph to result")
    for column in ("image", "face, pixels", *names, "ratio to the sum"):
        table.add_column(column, justify="right")
    size = recognizer.engine.description.image_size
    ratios = []
    for side, width in ((PORTRAIT, 90), (SIZE, 100), (SIZE, 200), (SIZE, 400)):
        content = photograph(1, width, side)
        image = read_image(content)
        (face,) = recognizer.detector.find(image)
        batch = resize_image(align(image, face.landmarks, face.eyes).image, size)[None]
        ms = medians(
            rounds,
            {
                "decode": lambda content=content: read_image(content),
                "find the face": lambda image=image: recognizer.detector.find(image),
                "model": lambda batch=batch: recognizer.engine(batch),
                "align (beyond the sum)": lambda image=image, f=face: align(image, f.landmarks),
                "photograph to result": lambda content=content: recognizer(content),
            },
        )
        ratios.append(ms["photograph to result"] / sum(ms[name] for name in names[:3]))
        cells = (f"{ms[name]:.1f}" for name in names)
        table.add_row("{} x {}".format(*side), str(width), *cells, f"{ratios[-1]:.3f}")
    Console(width=140).print(table)
    print(f"largest ratio: {max(ratios):.3f} (aim: 1.15)\n")


def groups(recognizer: Recognizer, rounds: int) -> None:
    table = Table(title="eight faces: ms on one core", title_justify="left")
    for column in ("faces, pixels", "one photograph", "eight with one face each", "ratio"):
        table.add_column(column, justify="right")
    ratios = []
    for width in (80, 120, 160):
        group = photograph(8, width)
        one = photograph(1, width)
        assert len(recognizer(group).faces) == 8
        ms = medians(
            rounds,
            {
                "one": lambda group=group: recognizer(group),
                "eight": lambda one=one: recognizer([one] * 8),
            },
        )
        ratios.append(ms["one"] / ms["eight"])
        table.add_row(str(width), f"{ms['one']:.0f}", f"{ms['eight']:.0f}", f"{ratios[-1]:.3f}")
    Console(width=130).print(table)
    print(f"largest ratio: {max(ratios):.3f} (aim: below 1)\n")


def starts(model: Path, work: Path, rounds: int) -> None:
    """By the clock: a new process that predicts one photograph and ends."""
    shutil.copytree(model, work / "keras").joinpath(WEIGHTLESS).unlink(missing_ok=True)
    image = work / "one.jpg"
    image.write_bytes(photograph(1, 400))
    measured: dict[str, list[tuple[float, float]]] = {str(model): [], str(work / "keras"): []}
    for turn in range(rounds + 1):
        for folder, runs in measured.items():
            command = [sys.executable, "-m", "far_keras.cli", "predict", str(image)]
            started = time.perf_counter()
            process = subprocess.Popen([*command, "--model", folder], stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            if turn:  # the first reads files into memory
                runs.append((time.perf_counter() - started, used.ru_maxrss / 1000))
    for name, runs in zip(("as it is", f"without {WEIGHTLESS}"), measured.values(), strict=True):
        seconds, megabytes = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"far-keras predict, model {name}: {seconds:.2f} s, {megabytes:.0f} MB")


def folders(model: Path, work: Path, count: int, rounds: int) -> None:
    """By the clock: loading the models is not counted, as `predict_to_file` reports it."""
    folder = work / "images"
    folder.mkdir()
    content = photograph(1, 300)
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(content)
    files = sorted(folder.iterdir())
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(rounds):
        for workers in speeds:
            out = work / f"{turn}-{workers}.jsonl"
            summary = predict_to_file(model, files, out, workers=workers, progress=False)
            speeds[workers].append(summary.predicted / summary.seconds)
    one, two = (statistics.median(values) for values in speeds.values())
    print(
        f"{count} photographs in a folder: {one:.1f} images/s in one process, {two:.1f} in two: "
        f"{two / one:.2f} times (aim: 1.7)\n"
    )


def memory(recognizer: Recognizer, calls: int) -> None:
    """Images of many sizes, with faces and without, readable and not."""
    rng = np.random.default_rng(0)
    head = Image.fromarray(astronaut()).crop((120, 0, 340, 250))
    marks = []
    started = time.monotonic()
    for call in range(calls):
        size = tuple(rng.integers(100, 260, 2))
        image = np.asarray(head.resize(size)) if call % 3 else np.full((*size, 3), 90, np.uint8)
        recognizer(b"no image" if call % 10 == 9 else image)
        if call + 1 in (calls // 100, calls // 10, calls // 2, calls):
            marks.append(f"{resident():.0f} MB after {call + 1:,}")
    seconds = time.monotonic() - started
    print(f"memory over {calls:,} calls in {seconds:.0f} s: {', '.join(marks)}")


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":  # worker processes import this file
    main()
