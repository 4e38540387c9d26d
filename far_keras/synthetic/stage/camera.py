"""The pose of a head, and the camera that aligns it as CelebA does.

CelebA moves, turns and scales every photograph so that the eyes are at fixed places of a 178x218
image. This camera does the same for every distance and pose, up to a small error as of the detector
that aligned the photographs.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np

from far_keras.geometry import ALIGNED_EYES, ALIGNED_SIZE
from far_keras.synthetic.parameters import Camera
from far_keras.synthetic.stage.rasterizer import SUPERSAMPLING

__all__ = ["TURNING_POINT", "PinholeCamera", "Pose", "aligned_camera"]

# CelebA's alignment enlarges turned heads until their eyes are as far apart; a larger factor would
# push the head out of the image.
MAX_ENLARGEMENT = 1.3
JITTER = 0.5  # pixels; standard deviation of an eye's place in aligned photographs

TURNING_POINT = np.array([0.0, 6.7, 0.25], np.float32)  # the top of the neck
TORSO_YAW, TORSO_PITCH = 0.35, 0.1  # how much of the head's turn the shoulders take part in


@dataclass(frozen=True)
class Pose:
    """The turn of a head on its neck. Angles in degrees, as in `parameters.Camera`."""

    yaw: float
    pitch: float
    roll: float

    def rotations(self, share: np.ndarray) -> np.ndarray:
        """Matrices (..., 3, 3) for points that follow the head by `share` (...) from 0 to 1."""
        yaw = np.radians(self.yaw) * (TORSO_YAW + (1 - TORSO_YAW) * share)
        pitch = -np.radians(self.pitch) * (TORSO_PITCH + (1 - TORSO_PITCH) * share)
        roll = np.radians(self.roll) * share
        cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        cr, sr, zero = np.cos(roll), np.sin(roll), np.zeros_like(share)
        turned = [[cy, zero, sy], [sp * sy, cp, -sp * cy], [-cp * sy, sp, cp * cy]]
        (a, b, c), (d, e, f), last = turned
        rolled = [
            [cr * a - sr * d, cr * b - sr * e, cr * c - sr * f],
            [sr * a + cr * d, sr * b + cr * e, sr * c + cr * f],
            last,
        ]
        return np.stack([np.stack(row, -1) for row in rolled], -2).astype(np.float32)

    @staticmethod
    def head_share(points: np.ndarray) -> np.ndarray:
        """How far points (..., 3) of the head frame follow the head: 1 skull, 0 shoulders."""
        t = np.clip((points[..., 1] + 0.45 * points[..., 2] - 5.9) / (6.75 - 5.9), 0, 1)
        return (t * t * (3 - 2 * t)).astype(np.float32)

    @property
    def rotation(self) -> np.ndarray:
        """The skull's rotation (3, 3)."""
        return self.rotations(np.ones((), np.float32))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Turns points (..., 3) of the head frame; the neck bends between skull and shoulders."""
        matrices = self.rotations(self.head_share(points))
        turned = np.einsum("...ij,...j->...i", matrices, points - TURNING_POINT)
        return (turned + TURNING_POINT).astype(np.float32)

    def apply_to_directions(self, directions: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Turns directions (..., 3) that belong to `points` (..., 3) of the head frame."""
        return np.einsum("...ij,...j->...i", self.rotations(self.head_share(points)), directions)


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """A camera that looks along -z at a point between the eyes."""

    centre: np.ndarray  # (3,) the point that it looks at
    distance: float  # from there to the camera, decimetres
    similarity: np.ndarray  # (2, 3) from the image plane at focal length 1 to supersampled pixels

    @property
    def position(self) -> np.ndarray:
        """(3,) where the camera is."""
        return self.centre + np.array([0, 0, self.distance], np.float32)

    @property
    def pixels_per_unit(self) -> float:
        """Supersampled pixels per decimetre at the eyes' depth."""
        return float(np.hypot(*self.similarity[:, 0]) / self.distance)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Posed points (..., 3) to (..., 3) float32: x, y in supersampled pixels, and depth."""
        relative = points - self.position
        depth = -relative[..., 2]
        plane = relative[..., :2] / depth[..., None]
        pixels = plane @ self.similarity[:, :2].T + self.similarity[:, 2]
        return np.concatenate([pixels, depth[..., None]], -1).astype(np.float32)


def aligned_camera(
    camera: Camera,
    eyes: np.ndarray,
    eye_distance: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> PinholeCamera:
    """The camera that brings two posed eyes to `ALIGNED_EYES`, as CelebA's alignment does.

    Args:
        camera: Its distance and tilt are used.
        eyes: (2, 3) posed centres of the eyes, the image's left one first.
        eye_distance: Decimetres between them in the unposed head.
        size: (height, width) of the final image; `ALIGNED_EYES` scale with its height.
        rng: Draws the detector's error.
    """
    centre = eyes.mean(0)
    unaligned = PinholeCamera(centre, camera.distance, np.eye(2, 3, dtype=np.float32))
    left, right = unaligned.project(eyes)[:, :2]
    scale = size[0] / ALIGNED_SIZE[0]
    error = np.clip(rng.normal(0, JITTER, (2, 2)), -2 * JITTER, 2 * JITTER)
    targets = np.array(ALIGNED_EYES) + error
    # Pixel x of the final image has its centre at SUPERSAMPLING * (x + 0.5) - 0.5.
    targets = SUPERSAMPLING * (targets * scale + 0.5 * scale) - 0.5
    # As complex numbers, y up on the image plane and down in the image.
    source = complex(*(right - left)).conjugate()
    source *= cmath.exp(-1j * math.radians(camera.tilt))
    factor = complex(*(targets[1] - targets[0])) / source
    frontal = abs(complex(*(targets[1] - targets[0]))) * camera.distance / eye_distance
    factor *= min(1.0, MAX_ENLARGEMENT * frontal / abs(factor))
    # pixel = factor * conj(plane) + offset
    matrix = np.array([[factor.real, factor.imag], [factor.imag, -factor.real]])
    offset = targets.mean(0) - matrix @ ((left + right) / 2)
    return PinholeCamera(
        centre.astype(np.float32),
        camera.distance,
        np.column_stack([matrix, offset]).astype(np.float32),
    )
