"""Rasterizer kernels against NumPy references; depth test, alpha, regions and downsampling."""

from __future__ import annotations

import numpy as np
import pytest

from far_keras.faces.region_map import Region
from far_keras.synthetic.head.mesh import vertex_normals
from far_keras.synthetic.stage.rasterizer import SUPERSAMPLING, Framebuffer, rasterize


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
    rasterize(points, triangles, depth, index, np.zeros((20, 24, 2), np.float32))
    expected_depth, expected_index = _reference(points, triangles, 20, 24)
    assert (index == expected_index).mean() > 0.99  # float32 may flip a pixel on an edge
    same = index == expected_index
    # float32 weights of slivers lose digits
    np.testing.assert_allclose(depth[same], expected_depth[same], rtol=1e-3, atol=1e-3)


def test_barycentric_weights_rebuild_the_pixel():
    points = np.array([[0.2, 0.1, 1], [18.3, 2.4, 2], [5.1, 17.7, 3]], np.float32)
    triangles = np.array([[0, 1, 2]], np.int32)
    depth, index, weights = _buffers(20, 20)
    rasterize(points, triangles, depth, index, weights)
    y, x = np.nonzero(index == 0)
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
    rasterize(points, triangles, depth, index, weights)
    assert (index == -1).all() and np.isinf(depth).all()


def test_normals_of_a_tetrahedron_point_outward():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    normals = vertex_normals(points, triangles)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-5)
    assert ((points - points.mean(0)) * normals).sum(1).min() > 0
    # The corner at the origin: the areas' mean of -x, -y, -z and, none of the slanted face.
    np.testing.assert_allclose(normals[0], -np.ones(3) / np.sqrt(3), atol=1e-6)


QUAD = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def _square(low, high, depth):
    corners = [(low, low), (high, low), (high, high), (low, high)]
    return np.array([(x, y, depth) for x, y in corners], np.float32)


@pytest.fixture
def buffer():
    return Framebuffer((20, 20))


def test_nearer_mesh_wins_in_either_order(buffer):
    near, far = _square(5.5, 20.5, 1.0), _square(10.5, 30.5, 2.0)
    for order in ((near, far), (far, near)):
        image = Framebuffer((20, 20))
        for mesh in order:
            color = np.full((4, 3), 1.0 if mesh is near else 0.25)
            region = Region.GLASSES if mesh is near else Region.HAT
            image.draw_triangles(mesh, QUAD, color, region)
        assert image.region[15, 15] == Region.GLASSES and image.color[15, 15, 0] == 1.0
        assert image.region[25, 25] == Region.HAT
        assert image.depth[15, 15] == pytest.approx(1.0)


def test_alpha_blends_and_only_opaque_meshes_write_regions(buffer):
    buffer.color[:] = 0.5
    buffer.draw_triangles(_square(4.5, 30.5, 1), QUAD, np.ones((4, 3)), Region.GLASSES, alpha=0.3)
    np.testing.assert_allclose(buffer.color[12, 12], 0.5 + 0.3 * 0.5, rtol=1e-5)
    assert buffer.region[12, 12] == Region.BACKGROUND
    assert np.isinf(buffer.depth[12, 12])


def test_vertex_colors_are_interpolated(buffer):
    colors = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    shown = buffer.draw_triangles(_square(0, 39, 1), QUAD, colors, Region.SKIN)
    assert shown.all()
    np.testing.assert_allclose(buffer.color[10, 30, :2], (30 / 39, 10 / 39), atol=1e-5)


def test_line_covers_its_width(buffer):
    points = np.array([[[2, 12, 1], [36, 12, 1]]], np.float32)
    buffer.draw_strands(points, 1.0, 3.0, Region.HAIR)
    column = buffer.color[:, 20, 0]
    assert column.sum() == pytest.approx(3.0, abs=1e-4)  # a width of 3 pixels, soft or not
    assert column[12] == 1 and column[9] == 0
    assert (buffer.region[11:14, 20] == Region.HAIR).all()


def test_thin_lines_fade_instead_of_vanishing(buffer):
    points = np.array([[[2, 12, 1], [36, 12, 1]]], np.float32)
    buffer.draw_strands(points, 1.0, 0.4, Region.HAIR)
    assert buffer.color[:, 20, 0].sum() == pytest.approx(0.4, abs=0.05)


def test_joints_are_not_drawn_twice(buffer):
    x = np.linspace(2, 36, 12)
    points = np.stack([x, 0 * x + 12, 0 * x + 1], 1)[None].astype(np.float32)
    buffer.draw_strands(points, 1.0, 3.0, Region.HAIR, alpha=0.4)
    assert buffer.color[:, 4:34].max() == pytest.approx(0.4, abs=1e-5)


def test_hidden_strands_stay_hidden_unless_biased(buffer):
    buffer.depth[:] = 1.0
    points = np.array([[[2, 12, 1.02], [36, 12, 1.02]]], np.float32)
    buffer.draw_strands(points, 1.0, 3.0, Region.HAIR)
    assert buffer.color.max() == 0
    buffer.draw_strands(points, 1.0, 3.0, Region.HAIR, bias=0.05)
    assert buffer.color.max() == 1


def test_resolve_averages_color_and_votes_on_regions(buffer):
    rng = np.random.default_rng(0)
    buffer.color[:] = rng.random(buffer.color.shape)
    buffer.region[:2, :2] = [[Region.HAIR, Region.SKIN], [Region.SKIN, Region.HAT]]
    buffer.region[:2, 2:4] = [[Region.HAIR, Region.HAIR], [Region.SKIN, Region.SKIN]]
    color, regions = buffer.resolve()
    assert color.shape == (20, 20, 3) and regions.shape == (20, 20)
    s = SUPERSAMPLING
    np.testing.assert_allclose(
        color[3, 7], buffer.color[3 * s : 4 * s, 7 * s : 8 * s].mean((0, 1)), rtol=1e-5
    )
    assert regions[0, 0] == Region.SKIN  # two votes of four
    assert regions[0, 1] == Region.HAIR  # a tie: the first sample's
