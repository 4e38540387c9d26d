"""Pose and camera: eyes where CelebA has them, angles with the right sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from far_keras.geometry import ALIGNED_EYES as EYES
from far_keras.synthetic.parameters import Camera
from far_keras.synthetic.stage.camera import Pose
from far_keras.synthetic.stage.rasterizer import SUPERSAMPLING
from far_keras.synthetic.stage.scene import CORNEA, build_scene

NOSE_TIP = np.array([0.0, 6.91, 1.68], np.float32)


def _pupils(person, shot, size=(218, 178)):
    """Where the pupils are in the final image, (2, 2) x, y."""
    scene = build_scene(person, shot, size)
    pupils = scene.head.eye_centers + np.array([0, 0, CORNEA], np.float32)
    return (scene.project(pupils)[:, :2] - 0.5) / SUPERSAMPLING


@pytest.mark.parametrize("distance", [6.0, 12.0])
@pytest.mark.parametrize("roll", [0.0, 12.0])
@pytest.mark.parametrize("male", [False, True])
def test_eyes_land_where_celeba_has_them(make_person, make_shot, distance, roll, male):
    shot = replace(make_shot(), camera=Camera(distance=distance, roll=roll))
    np.testing.assert_allclose(_pupils(make_person(male=male), shot), EYES, atol=1.0)


def test_turned_heads_keep_their_eyes_there(make_person, make_shot):
    shot = replace(make_shot(), camera=Camera(yaw=25, pitch=10))
    np.testing.assert_allclose(_pupils(make_person(), shot), EYES, atol=1.0)


def test_far_turned_heads_are_not_enlarged_without_end(make_person, make_shot):
    shot = replace(make_shot(), camera=Camera(yaw=65))
    left, right = _pupils(make_person(), shot)
    assert right[0] - left[0] < 33
    assert (left + right)[0] / 2 == pytest.approx(89, abs=1)


def test_size_scales_the_image(make_person, make_shot):
    small = _pupils(make_person(), make_shot(), (109, 89))
    np.testing.assert_allclose(small, np.array(EYES) / 2 - 0.25, atol=0.5)


def test_detector_error_differs_between_shots(make_person, make_shot):
    first, second = (_pupils(make_person(), make_shot(seed=s)) for s in (1, 2))
    assert np.abs(first - second).max() > 0.05


@pytest.mark.parametrize(
    ("angles", "axis", "sign"),
    [((20, 0, 0), 0, 1), ((-20, 0, 0), 0, -1), ((0, 15, 0), 1, 1), ((0, -15, 0), 1, -1)],
)
def test_pose_turns_the_nose_where_it_says(angles, axis, sign):
    moved = Pose(*angles).apply(NOSE_TIP) - NOSE_TIP
    assert moved[axis] * sign > 0.2


def test_pose_is_rigid_on_the_skull_and_keeps_shoulders():
    pose = Pose(30, 10, 5)
    skull = np.array([[0.3, 7.3, 1.4], [-0.5, 8.0, 0.4], [0, 6.9, 1.6]], np.float32)
    turned = pose.apply(skull)
    for i in range(3):
        before, after = (np.linalg.norm(p[i] - p[i - 1]) for p in (skull, turned))
        assert after == pytest.approx(before, rel=1e-4)
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-5)
    shoulder = np.array([1.5, 5.4, 0.0], np.float32)
    skull_angle = np.degrees(np.arctan2(*(pose.rotation @ [0, 0, 1])[[0, 2]]))
    torso = pose.apply_to_directions(np.array([0.0, 0, 1], np.float32), shoulder)
    assert 0.2 < np.degrees(np.arctan2(torso[0], torso[2])) / skull_angle < 0.5


def test_nearer_points_are_larger_and_less_deep(make_person, make_shot):
    scene = build_scene(make_person(), make_shot(), (218, 178))
    near, far = np.array([[[-0.3, 7, 1.5], [0.3, 7, 1.5]], [[-0.3, 7, 0.0], [0.3, 7, 0.0]]])
    near, far = (scene.project(points.astype(np.float32)) for points in (near, far))
    assert np.ptp(near[:, 0]) > np.ptp(far[:, 0]) * 1.1
    assert near[0, 2] < far[0, 2]
    assert np.ptp(near[:, 0]) == pytest.approx(0.6 * scene.pixels_per_unit, rel=0.05)
