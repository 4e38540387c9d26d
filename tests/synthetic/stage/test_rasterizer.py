"""Kernels against small NumPy references."""

from __future__ import annotations

import numpy as np

from far_keras.synthetic.head.normals import vertex_normals
from far_keras.synthetic.stage.rasterizer import rasterize


def _buffers(height, width):
    return (
        np.full((height, width), np.inf, np.float32),
        np.full((height, width), -1, np.int32),
        np.zeros((height, width, 2), np.float32),
    )


def _reference(points, triangles, height, width):
    """Depth and index of the nearest triangle at every pixel centre, one pixel at a time."""
    depth = np.full((height, width), np.inf)
    index = np.full((height, width), -1)
    for t, (a, b, c) in enumerate(triangles):
        matrix = np.array([points[[a, b, c], 0], points[[a, b, c], 1], np.ones(3)], float)
        if abs(np.linalg.det(matrix)) < 1e-6:
            continue
        inverse = np.linalg.inv(matrix)
        for y in range(height):
            for x in range(width):
                weights = inverse @ (x, y, 1)
                z = weights @ points[[a, b, c], 2]
                if (weights >= 0).all() and z < depth[y, x]:
                    depth[y, x], index[y, x] = z, t
    return depth, index


def test_matches_the_reference():
    rng = np.random.default_rng(4)
    # Vertices off the pixel centres, so that no pixel lies exactly on an edge.
    points = (rng.uniform(-4, 28, (30, 3)) + 0.013).astype(np.float32)
    triangles = rng.integers(0, 30, (40, 3)).astype(np.int32)
    depth, index, _ = _buffers(20, 24)
    rasterize(points, triangles, 0, depth, index, np.zeros((20, 24, 2), np.float32))
    expected_depth, expected_index = _reference(points, triangles, 20, 24)
    assert (index == expected_index).mean() > 0.99  # float32 may flip a pixel on an edge
    same = index == expected_index
    # float32 weights of slivers lose digits
    np.testing.assert_allclose(depth[same], expected_depth[same], rtol=1e-3, atol=1e-3)


def test_barycentric_weights_rebuild_the_pixel():
    points = np.array([[0.2, 0.1, 1], [18.3, 2.4, 2], [5.1, 17.7, 3]], np.float32)
    triangles = np.array([[0, 1, 2]], np.int32)
    depth, index, weights = _buffers(20, 20)
    rasterize(points, triangles, 5, depth, index, weights)
    y, x = np.nonzero(index == 5)
    assert len(y) > 100
    w = np.concatenate([weights[y, x], 1 - weights[y, x].sum(1, keepdims=True)], 1)
    np.testing.assert_allclose(w @ points[:, :2], np.stack([x, y], 1), atol=1e-4)


def test_outside_and_degenerate_triangles_are_harmless():
    points = np.array(
        [[-50, -50, 1], [-40, -50, 1], [-40, -40, 1], [3, 3, 1], [9, 9, 1], [6, 6, 1],
         [np.nan, 0, 1]], np.float32,
    )  # fmt: skip
    triangles = np.array([[0, 1, 2], [3, 4, 5], [0, 3, 6]], np.int32)
    depth, index, weights = _buffers(12, 12)
    rasterize(points, triangles, 0, depth, index, weights)
    assert (index == -1).all() and np.isinf(depth).all()


def test_normals_of_a_tetrahedron_point_outward():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    normals = vertex_normals(points, triangles)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-5)
    assert ((points - points.mean(0)) * normals).sum(1).min() > 0
    # The corner at the origin: the areas' mean of -x, -y, -z and, none of the slanted face.
    np.testing.assert_allclose(normals[0], -np.ones(3) / np.sqrt(3), atol=1e-6)
