"""The head asset: whole, licensed, sane; the samples on its surface."""

from __future__ import annotations

import numpy as np
import pytest

from far_keras.errors import AssetError
from far_keras.synthetic.head import mesh as mesh_module
from far_keras.synthetic.head.mesh import ASSETS, UV_MASKS, MeshMaterial, load_head, surface_samples


def test_asset_is_small_and_licensed():
    files = [path for path in ASSETS.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert "CC0 1.0" in (ASSETS / "LICENSE-CC0.md").read_text(encoding="utf-8")


def test_mesh_is_consistent():
    mesh = load_head()
    count = len(mesh.vertices)
    assert mesh.triangles.min() == 0 and mesh.triangles.max() == count - 1
    assert mesh.triangle_uv.shape == (*mesh.triangles.shape, 2)
    assert mesh.material.shape == mesh.triangles.shape[:1]
    assert mesh.target_deltas.shape == (len(mesh.target_names), count, 3)
    assert mesh.uv_masks.shape[0] == len(UV_MASKS)
    for array in (mesh.vertices, mesh.triangle_uv, mesh.target_deltas, mesh.uv_masks):
        assert np.isfinite(array).all()
    assert len(set(mesh.target_names)) == len(mesh.target_names)


def test_normals_point_out_of_the_head():
    mesh = load_head()
    skull = np.flatnonzero(mesh.vertices[:, 1] > 7.9)
    outward = mesh.vertices[skull] - np.array([0, 7.5, 0.6])
    assert ((mesh.normals[skull] * outward).sum(1) > 0).mean() > 0.99


def test_left_and_right_eye_mirror_each_other():
    mesh = load_head()
    left, right = (mesh.vertices[eye].mean(0) for eye in mesh.eye_vertices)
    assert left[0] < 0 < right[0]
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-4)


def test_masks_cover_the_parts_that_they_name():
    samples = surface_samples(20_000)
    assert abs(samples.rest[samples.lips][:, 1].mean() - 6.62) < 0.05
    assert np.abs(samples.rest[samples.ear][:, 0]).min() > 0.6


def test_samples_lie_on_the_skin_and_interpolate_it():
    mesh, samples = load_head(), surface_samples(20_000)
    assert (mesh.material[samples.triangle] == MeshMaterial.SKIN).all()
    np.testing.assert_allclose(samples.barycentric.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(samples.interpolate(mesh.vertices), samples.rest, atol=1e-5)
    assert len(samples[samples.ear]) == samples.ear.sum()


def test_samples_are_spread_by_area():
    # Ear and cheek differ in triangle size by a factor of ten, but not in samples per area.
    mesh, samples = load_head(), surface_samples(200_000)
    corners = mesh.vertices[mesh.triangles]
    area = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    big = np.argsort(np.bincount(samples.triangle, minlength=len(area)))[-200:]
    density = np.bincount(samples.triangle, minlength=len(area))[big] / area[big]
    assert density.std() / density.mean() < 0.25  # Poisson noise of >= 50 samples is 0.14


def test_missing_asset_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(mesh_module, "ASSETS", tmp_path)
    with pytest.raises(AssetError, match=r"head\.npz"):
        load_head.__wrapped__()
