"""Hairs as polylines: their roots, growth over the head, locks, colours, light and projection.

All points are in the head's frame (decimetres, x to the image's right, y up, z towards the camera
for a frontal face), so that a person's hair keeps its shape when the head turns.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from far_keras.synthetic.head.form import BODY_CELL, BODY_X, BODY_Z
from far_keras.synthetic.head.mesh import SurfaceSamples, surface_samples
from far_keras.synthetic.stage.camera import TURNING_POINT
from far_keras.synthetic.stage.scene import Scene

__all__ = [
    "choose",
    "clump",
    "face_samples",
    "grow",
    "nearest_guide",
    "press",
    "project_hairs",
    "scalp_samples",
    "shade_hairs",
    "strand_colors",
    "wave",
]


@njit(cache=True, fastmath=True, inline="always")
def _radius(radii: np.ndarray, x: float, y: float, z: float, r: float) -> float:
    """Bilinear look-up of the skin's distance in direction (x, y, z) / r."""
    rows, columns = radii.shape
    i = np.arccos(min(1.0, max(-1.0, y / r))) / np.pi * (rows - 1)
    j = (np.arctan2(x, z) + np.pi) / (2 * np.pi) * (columns - 1)
    i0 = min(int(i), rows - 2)
    j0 = min(int(j), columns - 2)
    fi = i - i0
    fj = j - j0
    upper = radii[i0, j0] * (1 - fj) + radii[i0, j0 + 1] * fj
    lower = radii[i0 + 1, j0] * (1 - fj) + radii[i0 + 1, j0 + 1] * fj
    return upper * (1 - fi) + lower * fi


@njit(cache=True, fastmath=True, inline="always")
def _shoulder(shoulders: np.ndarray, x: float, z: float) -> tuple[float, float, float]:
    """Height of the body's surface below (x, z) and its slopes along x and z."""
    rows, columns = shoulders.shape
    i = (z - BODY_Z) / BODY_CELL
    j = (x - BODY_X) / BODY_CELL
    if i < 0 or j < 0 or i >= rows - 1 or j >= columns - 1:
        return -9.0, 0.0, 0.0
    i0, j0 = int(i), int(j)
    fi, fj = i - i0, j - j0
    a, b = shoulders[i0, j0], shoulders[i0, j0 + 1]
    c, d = shoulders[i0 + 1, j0], shoulders[i0 + 1, j0 + 1]
    height = (a * (1 - fj) + b * fj) * (1 - fi) + (c * (1 - fj) + d * fj) * fi
    slope_x = ((b - a) * (1 - fi) + (d - c) * fi) / BODY_CELL
    slope_z = ((c - a) * (1 - fj) + (d - b) * fj) / BODY_CELL
    return height, slope_x, slope_z


@njit(cache=True, fastmath=True)
def grow(
    roots: np.ndarray,
    directions: np.ndarray,
    lengths: np.ndarray,
    lifts: np.ndarray,
    cling: np.ndarray,
    weight: np.ndarray,
    face_edge: np.ndarray,
    sideways: np.ndarray,
    center: np.ndarray,
    radii: np.ndarray,
    neck: np.ndarray,
    shoulders: np.ndarray,
    steps: int,
    cling_until: float,
) -> np.ndarray:
    """Polylines (N, steps, 3) of hairs that lie on the head, then fall, in the skull's frame.

    Args:
        roots: (N, 3) points on the skin.
        directions: (N, 3) unit vectors along which the hairs leave the skin.
        lengths: (N,) decimetres.
        lifts: (N,) height above the skin at which each hair lies.
        cling: (N,) 0: free, may stand off .. 1: lies on its layer above `cling_until`.
        weight: (N,) pull of gravity, about 0 (stiff) to 6 (limp).
        face_edge: (N,) hairs with a larger z next to the face are drawn back, so that it stays
            open (the edge leans forward towards the hairline).
        sideways: (N,) z-pull below the jaw: positive falls in front of the shoulders.
        center, radii, neck, shoulders: as in `HeadForm`.
        cling_until: Height (y) below which hairs fall freely.
    """
    count = roots.shape[0]
    out = np.empty((count, steps, 3))
    for s in range(count):
        px, py, pz = roots[s, 0], roots[s, 1], roots[s, 2]
        dx, dy, dz = directions[s, 0], directions[s, 1], directions[s, 2]
        step = lengths[s] / (steps - 1)
        rise = max(0.05, 2.5 * lifts[s])
        out[s, 0, 0], out[s, 0, 1], out[s, 0, 2] = px, py, pz
        for k in range(1, steps):
            # Stiff at the root: the hair first goes where it was combed to.
            dy -= weight[s] * step * min(1.0, 0.25 + 1.5 * k * step)
            if py < 8.15:
                over = pz - face_edge[s] - 0.75 * max(0.0, py - 7.45)
                if over > 0.0:
                    dz -= 22.0 * step * min(over, 0.4)
            if py < 7.4:
                # Hanging hair comes to rest, moves in below the ears, and falls in front of the
                # shoulders or behind them.
                dx -= 2.5 * step * dx
                out_x = px - center[0]
                if abs(out_x) > 0.62 and py < 7.0:
                    dx -= 0.16 * step * (1.0 if out_x > 0 else -1.0) * weight[s]
                if py < 6.75:
                    dz += sideways[s] * step
            norm = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
            dx *= norm
            dy *= norm
            dz *= norm
            px += dx * step
            py += dy * step
            pz += dz * step
            x, y, z = px - center[0], py - center[1], pz - center[2]
            r = np.sqrt(x * x + y * y + z * z)
            floor = _radius(radii, x, y, z, r)
            lift = lifts[s] * (1.0 - np.exp(-k * step / rise)) + 0.004
            target = floor + lift
            hold = 0.0
            if r < target:
                hold = 1.0
            elif cling[s] > 0:
                hold = cling[s] * min(1.0, max(0.0, (py - cling_until + 0.15) / 0.3))
            if hold > 0:
                ux, uy, uz = x / r, y / r, z / r
                r_new = r + (target - r) * hold
                px = center[0] + ux * r_new
                py = center[1] + uy * r_new
                pz = center[2] + uz * r_new
                out_speed = dx * ux + dy * uy + dz * uz
                if r < target:
                    out_speed = min(out_speed, 0.0)
                dx -= ux * out_speed * hold
                dy -= uy * out_speed * hold
                dz -= uz * out_speed * hold
            if py < 6.8:
                # Outside the neck, an upright elliptical cylinder, and above the shoulders.
                ex, ez = px / neck[0], (pz - neck[1]) / neck[2]
                inside = ex * ex + ez * ez
                if 1e-6 < inside < 1.0:
                    outwards = 1.0 / np.sqrt(inside)
                    px *= outwards
                    pz = neck[1] + (pz - neck[1]) * outwards
                if py < 6.3:
                    height, slope_x, slope_z = _shoulder(shoulders, px, pz)
                    slope_x *= 0.3
                    under = height + 0.5 * lifts[s] + 0.02 - py
                    if under > 0.0:
                        norm = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_z * slope_z)
                        ux, uy, uz = -slope_x * norm, norm, -slope_z * norm
                        under = min(under, 0.3) * norm
                        px += ux * under
                        py += uy * under
                        pz += uz * under
                        into = min(0.0, dx * ux + dy * uy + dz * uz)
                        dx -= ux * into
                        dy -= uy * into
                        dz -= uz * into
            out[s, k, 0], out[s, k, 1], out[s, k, 2] = px, py, pz
    return out


@njit(cache=True, fastmath=True)
def press(
    points: np.ndarray,
    center: np.ndarray,
    radii: np.ndarray,
    normal: np.ndarray,
    offset: float,
    height: float,
) -> None:
    """Presses hairs (N, K, 3) flat under a hat, in place.

    Above the plane of the hat's rim (`normal` (3,) and `offset`) hairs lie at most `height` over
    the skin; the limit fades out over the quarter of a decimetre below it.
    """
    count, steps, _ = points.shape
    for s in range(count):
        for k in range(steps):
            x, y, z = points[s, k, 0], points[s, k, 1], points[s, k, 2]
            above = x * normal[0] + y * normal[1] + z * normal[2] - offset
            if above < -0.25:
                continue
            x, y, z = x - center[0], y - center[1], z - center[2]
            r = np.sqrt(x * x + y * y + z * z)
            free = max(0.0, -above / 0.25)
            most = _radius(radii, x, y, z, r) + height + 0.5 * free * free
            if r > most:
                scale = most / r
                points[s, k, 0] = center[0] + x * scale
                points[s, k, 1] = center[1] + y * scale
                points[s, k, 2] = center[2] + z * scale


@lru_cache(maxsize=1)
def scalp_samples() -> SurfaceSamples:
    """Samples of every place where anybody's head hair can grow, in random order."""
    samples = surface_samples()
    x, y, z = np.abs(samples.rest[:, 0]), samples.rest[:, 1], samples.rest[:, 2]
    on_forehead = (np.arctan2(x, z - 0.5) < np.radians(55)) & (y < 7.85)
    possible = ~samples.ear & (y > 6.6) & ~on_forehead & (z - 0.5 < 0.6 + 2 * (y - 7.2))
    # The inside of the mouth and of the eye sockets lies behind the face.
    possible &= (np.hypot(x / 0.72, (z - 0.55) / 0.95) > 0.8) | (y > 7.8)
    return _shuffled(samples[possible], 40_000)


@lru_cache(maxsize=1)
def face_samples() -> SurfaceSamples:
    """Samples of brows, cheeks, jaw and the upper neck, without lips, mouth and ears."""
    samples = surface_samples()
    y, z = samples.rest[:, 1], samples.rest[:, 2]
    possible = ~samples.ear & ~samples.lips & ~samples.mouth & (y < 7.7) & (z > 0.35)
    return _shuffled(samples[possible], 120_000)


def choose(density: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of samples, taken in proportion to `density` (S,) in [0, 1], in random order.

    `count` is how many there would be if all samples of positive density had density 1.
    """
    positive = np.flatnonzero(density > 0)
    share = min(1.0, count / max(len(positive), 1))
    kept = positive[rng.random(len(positive)) < density[positive] * share]
    return rng.permutation(kept)


def _shuffled(samples: SurfaceSamples, most: int) -> SurfaceSamples:
    order = np.random.default_rng(0).permutation(len(samples))
    return samples[order[:most]]


@njit(cache=True, fastmath=True)
def nearest_guide(roots: np.ndarray, guides: int) -> np.ndarray:
    """(N,) index of the nearest of the first `guides` roots: the lock a hair belongs to."""
    count = roots.shape[0]
    owner = np.empty(count, np.int64)
    for s in range(count):
        best, at = 1e9, 0
        for g in range(guides):
            x = roots[s, 0] - roots[g, 0]
            y = roots[s, 1] - roots[g, 1]
            z = roots[s, 2] - roots[g, 2]
            d = x * x + y * y + z * z
            if d < best:
                best, at = d, g
        owner[s] = at
    return owner


@njit(cache=True, fastmath=True)
def clump(points: np.ndarray, owner: np.ndarray, strength: float, start: float) -> None:
    """Draws hairs (N, K, 3) towards the first hair of their lock, more so at the tips, in place.

    `strength` 0 .. 1 is reached at the tip; it begins at the fraction `start` of the length.
    """
    count, steps, _ = points.shape
    guides = owner.max() + 1
    lead = points[:guides].copy()
    for s in range(count):
        g = owner[s]
        if s == g:
            continue
        for k in range(1, steps):
            t = max(0.0, (k / (steps - 1.0) - start) / (1.0 - start))
            share = strength * t * (2.0 - t)
            for c in range(3):
                points[s, k, c] += (lead[g, k, c] - points[s, k, c]) * share


@njit(cache=True, fastmath=True)
def wave(
    points: np.ndarray,
    center: np.ndarray,
    amplitude: np.ndarray,
    frequency: np.ndarray,
    phase: np.ndarray,
    flat: float,
) -> None:
    """Winds hairs (N, K, 3) around their own course, in place.

    Waves have an `amplitude` in decimetres, a `frequency` in radians per decimetre and a `phase`,
    (N,) each. They lie in the surface of the skull around `center` if `flat` is 1; at 0, they are
    full helices.
    """
    count, steps, _ = points.shape
    for s in range(count):
        travelled = 0.0
        qx, qy, qz = points[s, 0, 0], points[s, 0, 1], points[s, 0, 2]
        for k in range(1, steps):
            x, y, z = points[s, k, 0], points[s, k, 1], points[s, k, 2]
            tx, ty, tz = x - qx, y - qy, z - qz
            qx, qy, qz = x, y, z
            step = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
            tx /= step
            ty /= step
            tz /= step
            travelled += step
            ux, uy, uz = x - center[0], y - center[1], z - center[2]
            norm = np.sqrt(ux * ux + uy * uy + uz * uz) + 1e-9
            ux /= norm
            uy /= norm
            uz /= norm
            bx, by, bz = ty * uz - tz * uy, tz * ux - tx * uz, tx * uy - ty * ux
            grown = amplitude[s] * (1.0 - np.exp(-2.5 * travelled))
            angle = phase[s] + frequency[s] * travelled
            side = grown * np.sin(angle)
            height = grown * (1.0 - flat) * (0.5 + 0.5 * np.cos(angle))
            points[s, k, 0] = x + bx * side + ux * height
            points[s, k, 1] = y + by * side + uy * height
            points[s, k, 2] = z + bz * side + uz * height


def project_hairs(scene: Scene, points: np.ndarray) -> np.ndarray:
    """`scene.project` for hairs (N, K, 3), ten times as fast: rotations are interpolated."""
    return _pose_and_project(
        points,
        scene.head.pose.rotations(np.linspace(0, 1, 17, dtype=np.float32)).astype(float),
        TURNING_POINT.astype(float),
        scene.camera.position.astype(float),
        scene.camera.similarity.astype(float),
    )


@njit(cache=True, fastmath=True)
def _pose_and_project(
    points: np.ndarray,
    rotations: np.ndarray,
    pivot: np.ndarray,
    camera: np.ndarray,
    similarity: np.ndarray,
) -> np.ndarray:
    """Projects points (N, K, 3); `rotations` (M, 3, 3) follow the head by 0, 1 / (M - 1) .. 1."""
    count, steps, _ = points.shape
    last = rotations.shape[0] - 1
    out = np.empty((count, steps, 3), np.float32)
    r = np.empty((3, 3))
    for s in range(count):
        for k in range(steps):
            t = (points[s, k, 1] + 0.45 * points[s, k, 2] - 5.9) / 0.85
            t = min(1.0, max(0.0, t))
            share = t * t * (3.0 - 2.0 * t) * last
            at = min(int(share), last - 1)
            share -= at
            x = points[s, k, 0] - pivot[0]
            y = points[s, k, 1] - pivot[1]
            z = points[s, k, 2] - pivot[2]
            for i in range(3):
                for j in range(3):
                    r[i, j] = rotations[at, i, j] * (1 - share) + rotations[at + 1, i, j] * share
            px = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + pivot[0] - camera[0]
            py = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + pivot[1] - camera[1]
            depth = camera[2] - (r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + pivot[2])
            px /= depth
            py /= depth
            out[s, k, 0] = similarity[0, 0] * px + similarity[0, 1] * py + similarity[0, 2]
            out[s, k, 1] = similarity[1, 0] * px + similarity[1, 1] * py + similarity[1, 2]
            out[s, k, 2] = depth
    return out


# Not even black hair is black: it reflects a little of everything, warm at that.
_DARKEST = np.array([0.014, 0.011, 0.010])


def strand_colors(color: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours (N, 3) of strands around one hair colour, by their locks `owner` (N,); linear RGB.

    Grey hair is a mixture of dark and white strands.
    """
    base = np.maximum(np.asarray(color, float), _DARKEST)
    saturation = 1 - base.min() / base.max()
    grey = np.clip((0.35 - saturation) / 0.2, 0, 1) * np.clip((base.mean() - 0.06) / 0.06, 0, 1)
    spread = 0.2 + 0.22 * grey
    locks = rng.normal(0, 0.11, owner.max() + 1)
    brightness = np.exp(rng.normal(0, spread, len(owner)) + locks[owner] - spread**2 / 2)
    warmth = rng.normal(0, 0.05, (len(owner), 1)) * np.array([1.0, 0.1, -1.0])
    return np.clip(base * brightness[:, None] * (1 + warmth), 0.004, 0.98)


@njit(cache=True, fastmath=True)
def shade_hairs(
    points: np.ndarray,
    colors: np.ndarray,
    tips: np.ndarray,
    depth: np.ndarray,
    root_shade: float,
    center: np.ndarray,
    rotation: np.ndarray,
    key: np.ndarray,
    fill: np.ndarray,
    rim: np.ndarray,
    ambient: np.ndarray,
) -> np.ndarray:
    """Linear RGB (N, K, 3) float32 of hairs: Kajiya and Kay's model with two shifted highlights.

    Args:
        points: (N, K, 3) in the head's frame.
        colors, tips: (N, 3) albedo at the root and at the tip.
        depth: (N,) 0 for hairs of the innermost layer .. 1 outermost: inner ones are darker.
        root_shade: Brightness at the root, relative to the rest of the hair.
        center: (3,) of the head.
        rotation: (3, 3) from the head's frame to the camera's.
        key, fill, rim, ambient: as in `Lighting`.
    """
    count, steps, _ = points.shape
    out = np.empty((count, steps, 3), np.float32)
    lx, ly, lz = key[0, 0], key[0, 1], key[0, 2]
    hx, hy, hz = lx, ly, lz + 1.0
    norm = np.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / norm, hy / norm, hz / norm
    r = rotation
    for s in range(count):
        layer = 0.55 + 0.45 * depth[s]
        for k in range(steps):
            a = k if k < steps - 1 else k - 1
            tx = points[s, a + 1, 0] - points[s, a, 0]
            ty = points[s, a + 1, 1] - points[s, a, 1]
            tz = points[s, a + 1, 2] - points[s, a, 2]
            norm = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
            tx, ty, tz = tx / norm, ty / norm, tz / norm
            x = points[s, k, 0] - center[0]
            y = points[s, k, 1] - center[1]
            z = points[s, k, 2] - center[2]
            across = np.sqrt(x * x + z * z)
            # Hanging hair faces outwards, not down.
            ny = max(y, 0.0)
            norm = np.sqrt(x * x + ny * ny + z * z) + 1e-9
            nx, ny, nz = x / norm, ny / norm, z / norm
            ux = r[0, 0] * tx + r[0, 1] * ty + r[0, 2] * tz
            uy = r[1, 0] * tx + r[1, 1] * ty + r[1, 2] * tz
            uz = r[2, 0] * tx + r[2, 1] * ty + r[2, 2] * tz
            vx = r[0, 0] * nx + r[0, 1] * ny + r[0, 2] * nz
            vy = r[1, 0] * nx + r[1, 1] * ny + r[1, 2] * nz
            vz = r[2, 0] * nx + r[2, 1] * ny + r[2, 2] * nz
            facing = min(1.0, max(0.0, (vz + 0.45) / 0.6))
            inside = 0.22 + 0.78 * facing * facing * (3.0 - 2.0 * facing)
            if y < -0.75:
                neck = min(1.0, max(0.0, (across - 0.35) / 0.45))
                inside *= 0.45 + 0.55 * neck
            t = k / (steps - 1.0)
            faded = min(1.0, max(0.0, 2.2 * t - 0.6))
            root = root_shade + (1.0 - root_shade) * min(1.0, 3.5 * t)
            shadow = min(1.0, max(0.06, 0.42 + 0.62 * (vx * lx + vy * ly + vz * lz)))
            other = vx * fill[0, 0] + vy * fill[0, 1] + vz * fill[0, 2]
            other = min(1.0, max(0.05, 0.4 + 0.6 * other))
            along_light = ux * lx + uy * ly + uz * lz
            diffuse = np.sqrt(max(0.0, 1.0 - along_light * along_light))
            along_half = ux * hx + uy * hy + uz * hz
            # The cuticle's tilt shifts the white highlight to the root, the coloured to the tip.
            first = along_half + 0.09
            second = along_half - 0.12
            white = max(0.0, 1.0 - first * first) ** 55
            tinted = max(0.0, 1.0 - second * second) ** 14
            edge = max(0.0, 1.0 - abs(vz)) ** 2
            edge *= max(0.0, vx * rim[0, 0] + vy * rim[0, 1] + vz * rim[0, 2])
            dim = inside * layer * root
            sheen = dim * shadow * layer
            for c in range(3):
                albedo = colors[s, c] + faded * (tips[s, c] - colors[s, c])
                light = (
                    key[1, c] * diffuse * shadow * 0.8
                    + fill[1, c] * other * 0.8
                    + ambient[c] * (0.7 + 0.25 * vy)
                )
                shine = key[1, c] * sheen * (0.05 * white + 0.5 * albedo * tinted)
                out[s, k, c] = (
                    albedo * light * dim + shine + edge * rim[1, c] * (0.03 + 0.3 * albedo)
                )
    return out
