"""Backgrounds: painted sharp and upright on a canvas, then blurred, turned and cut."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import affine_transform, gaussian_filter

from far_keras.synthetic.stage.noise import SIZE as NOISE_SIZE
from far_keras.synthetic.stage.noise import noise_texture
from far_keras.synthetic.stage.rasterizer import SUPERSAMPLING
from far_keras.synthetic.stage.scene import Scene

__all__ = ["KINDS", "draw_background"]

CANVAS = 256  # pixels per side


def blank(color: np.ndarray) -> np.ndarray:
    """A canvas (256, 256, 3) of one colour."""
    return np.full((CANVAS, CANVAS, 3), color, np.float32)


def any_light(rng: np.random.Generator, low: float, high: float, chroma: float) -> np.ndarray:
    """A random linear colour (3,) of a brightness between `low` and `high`.

    Most surroundings lie between brown and blue; few are green or violet.
    """
    warm, violet = rng.normal(0.3 * chroma, 1.2 * chroma), rng.normal(0, 0.5 * chroma)
    tint = np.exp([warm + 0.5 * violet, -violet, 0.5 * violet - warm])
    return rng.uniform(low, high) * tint / tint.mean()


def clouds(rng: np.random.Generator, smoothness: float) -> np.ndarray:
    """Cloudy noise (256, 256), about -2 to 2."""
    row, column = rng.integers(0, NOISE_SIZE, 2)
    return np.roll(noise_texture(smoothness, 11), (row, column), (0, 1))


def box(
    canvas: np.ndarray, left: float, top: float, right: float, bottom: float, color: np.ndarray
) -> np.ndarray:
    """Fills an upright box; returns the part of the canvas (h, w, 3) that it covers."""
    x0, x1 = (int(np.clip(round(x * CANVAS), 0, CANVAS)) for x in (left, right))
    y0, y1 = (int(np.clip(round(y * CANVAS), 0, CANVAS)) for y in (top, bottom))
    part = canvas[y0:y1, x0:x1]
    part[:] = color
    return part


def _window(x: float, y: float, reach_x: float, reach_y: float) -> tuple[slice, slice]:
    columns = np.clip([(x - reach_x) * CANVAS - 1, (x + reach_x) * CANVAS + 2], 0, CANVAS)
    rows = np.clip([(y - reach_y) * CANVAS - 1, (y + reach_y) * CANVAS + 2], 0, CANVAS)
    return slice(*rows.astype(int)), slice(*columns.astype(int))


def ellipse(
    canvas: np.ndarray,
    x: float,
    y: float,
    radius_x: float,
    radius_y: float,
    color: np.ndarray,
    *,
    alpha: float = 1.0,
    round_light: float = 0.0,
) -> None:
    """Blends an ellipse; `round_light` > 0 darkens its left side, < 0 its right, up to 1."""
    window = _window(x, y, radius_x, radius_y)
    rows, columns = np.ogrid[window]
    u = (columns / CANVAS - x) / radius_x
    v = (rows / CANVAS - y) / radius_y
    soft = min(radius_x, radius_y) * CANVAS
    cover = np.clip((1 - np.hypot(u, v)) * soft + 0.5, 0, 1) * alpha * (v >= -1)
    lit = (1 + round_light * np.clip(u, -1, 1))[..., None]
    part = canvas[window]
    part += cover[..., None].astype(np.float32) * (color * lit - part)


def disc(
    canvas: np.ndarray, x: float, y: float, radius: float, color: np.ndarray, alpha: float
) -> None:
    """Blends a disc: a point of light out of focus."""
    ellipse(canvas, x, y, radius, radius, color, alpha=alpha)


def line(
    canvas: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    color: np.ndarray,
) -> None:
    """Draws a straight line with square ends: poles, branches, railings."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    length = max(np.hypot(dx, dy), 1e-6)
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    window = _window(*middle, abs(dx) / 2 + width, abs(dy) / 2 + width)
    rows, columns = np.ogrid[window]
    px, py = columns / CANVAS - middle[0], rows / CANVAS - middle[1]
    across = np.abs(px * dy - py * dx) / length
    along = np.abs(px * dx + py * dy) / length
    cover = np.clip((width / 2 - across) * CANVAS + 0.5, 0, 1)
    cover = cover * np.clip((length / 2 - along) * CANVAS + 0.5, 0, 1)
    part = canvas[window]
    part += cover[..., None].astype(np.float32) * (color - part)


LETTERS = "ABCDEFGHIKLMNOPRSTUVW"
SKINS = np.array([[0.60, 0.38, 0.28], [0.45, 0.27, 0.18], [0.25, 0.13, 0.08], [0.10, 0.05, 0.03]])
HAIRS = np.array([[0.01, 0.01, 0.01], [0.06, 0.03, 0.015], [0.35, 0.22, 0.10], [0.3, 0.3, 0.3]])
_ACROSS = np.linspace(0, 1, CANVAS, dtype=np.float32)[None, :, None]
_DOWN = np.linspace(0, 1, CANVAS, dtype=np.float32)[:, None, None]


def _gradient(rng: np.random.Generator) -> np.ndarray:
    first, second = any_light(rng, 0.01, 0.8, 0.25), any_light(rng, 0.01, 0.8, 0.25)
    angle = rng.uniform(0, 2 * np.pi)
    t = 0.5 + np.cos(angle) * (_DOWN - 0.5) + np.sin(angle) * (_ACROSS - 0.5)
    return first + (second - first) * np.clip(t, 0, 1)


def _studio(rng: np.random.Generator) -> np.ndarray:
    """A paper backdrop with a pool of light and darker corners."""
    cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.6)
    radius = np.hypot(_ACROSS - cx, _DOWN - cy)
    fall = np.exp(-((radius / rng.uniform(0.4, 0.9)) ** 2))
    wall = any_light(rng, 0.02, 0.85, 0.15)
    cloth = 1 + rng.uniform(0, 0.12) * clouds(rng, 1.8)[..., None]
    return wall * (rng.uniform(0.35, 0.8) + 0.5 * fall * cloth)


def _lamp(rng: np.random.Generator, canvas: np.ndarray) -> None:
    x, y, size = rng.uniform(0, 1), rng.uniform(0, 0.45), rng.uniform(0.02, 0.08)
    square = (_ACROSS - x) ** 2 + (_DOWN - y) ** 2
    canvas += np.array([0.5, 0.36, 0.2]) * np.exp(-square / (3 * size) ** 2)
    disc(canvas, x, y, size, np.array([2.4, 1.9, 1.2]), 1.0)


def _shelf(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """A shelf with books and boxes."""
    left, top = rng.uniform(-0.2, 0.8), rng.uniform(-0.1, 0.4)
    right, rows = left + rng.uniform(0.25, 0.7), int(rng.integers(2, 5))
    step = rng.uniform(0.13, 0.22)
    box(canvas, left, top, right, top + rows * step, any_light(rng, 0.01, 0.25, 0.2))
    for row in range(rows):
        x, floor = left + 0.01, top + (row + 1) * step - 0.012
        while x < right - 0.02:
            width = rng.uniform(0.012, 0.05)
            if rng.random() < 0.85:
                high = step * rng.uniform(0.5, 0.9)
                box(canvas, x, floor - high, min(x + width, right - 0.01), floor,
                    any_light(rng, 0.02, 0.7, 0.5))  # fmt: skip
            x += width + 0.003


def _pane(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """A window with its bars, perhaps with a view."""
    left, top = rng.uniform(-0.2, 0.8), rng.uniform(-0.2, 0.3)
    right, bottom = left + rng.uniform(0.2, 0.6), top + rng.uniform(0.3, 0.8)
    box(canvas, left - 0.02, top - 0.02, right + 0.02, bottom + 0.02, any_light(rng, 0.1, 0.8, 0.1))
    view = box(canvas, left, top, right, bottom, any_light(rng, 0.9, 2.2, 0.06))
    if len(view) and rng.random() < 0.6:
        view[len(view) // 2 :] *= any_light(rng, 0.2, 0.8, 0.2)
    bar = any_light(rng, 0.1, 0.7, 0.1)
    for x in np.linspace(left, right, int(rng.integers(2, 4)))[1:-1]:
        box(canvas, x - 0.008, top, x + 0.008, bottom, bar)
    box(canvas, left, (top + bottom) / 2 - 0.008, right, (top + bottom) / 2 + 0.008, bar)


def _framed_image(rng: np.random.Generator, canvas: np.ndarray) -> None:
    left, top = rng.uniform(-0.1, 0.9), rng.uniform(-0.1, 0.5)
    right, bottom = left + rng.uniform(0.12, 0.35), top + rng.uniform(0.12, 0.35)
    box(canvas, left, top, right, bottom, any_light(rng, 0.01, 0.3, 0.3))
    part = box(canvas, left + 0.015, top + 0.015, right - 0.015, bottom - 0.015,
               any_light(rng, 0.1, 0.8, 0.3))  # fmt: skip
    part *= 1 + 0.4 * clouds(rng, 1.4)[: part.shape[0], : part.shape[1], None]


def _furniture(rng: np.random.Generator, canvas: np.ndarray) -> None:
    left, top = rng.uniform(-0.2, 0.9), rng.uniform(0.35, 0.9)
    right = left + rng.uniform(0.15, 0.6)
    color = any_light(rng, 0.01, 0.4, 0.35)
    part = box(canvas, left, top, right, 1.0, color)
    part *= 1 + 0.15 * clouds(rng, 1.6)[: part.shape[0], : part.shape[1], None]
    box(canvas, left, top, right, top + 0.015, 1.6 * color)


def _indoor(rng: np.random.Generator) -> np.ndarray:
    """A wall with furniture, images, a door, a window or a lamp."""
    canvas = blank(any_light(rng, 0.05, 0.7, 0.18))
    slope, side = rng.uniform(-0.5, 0.5), rng.uniform(-0.6, 0.6)
    canvas *= 1 + slope * (_DOWN - 0.5) + side * (_ACROSS - 0.5)
    if rng.random() < 0.5:  # another wall, or a door
        edge = rng.uniform(0.1, 0.9)
        other = any_light(rng, 0.02, 0.6, 0.25)
        left, right = (edge, 1.0) if rng.random() < 0.5 else (0.0, edge)
        box(canvas, left, 0, right, 1, other)
    things = (_shelf, _pane, _framed_image, _framed_image, _furniture, _furniture, _lamp)
    for _ in range(int(rng.integers(3, 9))):
        things[int(rng.integers(len(things)))](rng, canvas)
    return canvas


def _foliage(rng: np.random.Generator, canvas: np.ndarray, horizon: np.ndarray) -> None:
    """Leaves below a horizon (1, 256, 1), with light between them."""
    leaves = (0.7 * clouds(rng, 0.9) + 0.7 * clouds(rng, 1.5))[..., None]
    green = np.array([0.10, 0.17, 0.04]) * rng.uniform(0.3, 1.6)
    autumn = np.array([0.30, 0.17, 0.05]) * rng.uniform(0.4, 1.3)
    color = green + (autumn - green) * float(rng.random() < 0.25) * rng.uniform(0.3, 1)
    glints = np.clip(leaves - 1.0, 0, 1.5) * np.array([0.7, 0.75, 0.5])
    cover = np.clip((_DOWN - horizon) * 60, 0, 1)
    canvas += cover * (color * np.clip(1 + 0.7 * leaves, 0.05, 3) + glints - canvas)


def _outdoor(rng: np.random.Generator) -> np.ndarray:
    """Sky above, leaves or buildings below, ground at the bottom."""
    sky = np.array([0.40, 0.60, 0.98]) * rng.uniform(0.5, 1.2)
    sky = sky + (np.full(3, rng.uniform(0.5, 1.3)) - sky) * rng.uniform(0, 0.9)
    canvas = (sky * (0.8 + 0.35 * _DOWN) * np.ones_like(_ACROSS)).astype(np.float32)
    horizon = rng.uniform(-0.3, 0.8) + 0.07 * clouds(rng, 1.4)[:1, :, None]
    if rng.random() < 0.75:
        _foliage(rng, canvas, horizon)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 5))):
            _building(rng, canvas)
    if rng.random() < 0.4:
        ground = rng.uniform(0.55, 0.95)
        part = box(canvas, 0, ground, 1, 1, any_light(rng, 0.1, 0.6, 0.15))
        part *= 1 + 0.1 * clouds(rng, 1.0)[: len(part), :, None]
    for _ in range(int(rng.integers(0, 4))):  # trunks and poles
        x = rng.uniform(0, 1)
        line(canvas, (x, -0.1), (x + rng.normal(0, 0.05), 1.1), rng.uniform(0.01, 0.06),
             any_light(rng, 0.01, 0.15, 0.2))  # fmt: skip
    return canvas


def _building(rng: np.random.Generator, canvas: np.ndarray) -> None:
    left, width, top = rng.uniform(-0.1, 0.9), rng.uniform(0.15, 0.6), rng.uniform(-0.2, 0.6)
    part = box(canvas, left, top, left + width, 1, any_light(rng, 0.08, 0.7, 0.18))
    rows, columns = int(rng.integers(12, 40)), int(rng.integers(8, 30))
    pane = any_light(rng, 0.02, 0.6, 0.2)
    for row in range(rows // 3, part.shape[0], rows):
        for column in range(columns // 3, part.shape[1], columns):
            part[row : row + rows * 2 // 3, column : column + columns * 3 // 5] = pane


def _bokeh(rng: np.random.Generator) -> np.ndarray:
    """Lights far out of focus before a dark or dim ground."""
    canvas = _gradient(rng) * rng.uniform(0.05, 0.4)
    canvas = canvas * (1 + 0.3 * clouds(rng, 1.6)[..., None])
    hue = any_light(rng, 0.9, 1.0, 0.4)
    size = rng.uniform(0.015, 0.06)
    for _ in range(int(rng.integers(12, 50))):
        color = (hue + rng.normal(0, 0.25, 3)).clip(0.05) * rng.uniform(0.3, 1.5)
        disc(canvas, rng.uniform(0, 1), rng.uniform(0, 1), size * rng.uniform(0.8, 1.2), color,
             rng.uniform(0.15, 0.8))  # fmt: skip
    return np.clip(canvas, 0, 2)


def _person(rng: np.random.Generator, canvas: np.ndarray, x: float, y: float, size: float) -> None:
    """Head and shoulders of someone; `size` is the height of the head."""
    cloth = any_light(rng, 0.01, 0.6, 0.4)
    skin = SKINS[int(rng.integers(4))] * rng.uniform(0.5, 1.2)
    hair = HAIRS[int(rng.integers(4))] * rng.uniform(0.5, 1.3)
    side = rng.uniform(-0.5, 0.5)
    long = rng.random() < 0.5
    ellipse(canvas, x, y + 1.75 * size, 1.05 * size, size, cloth, round_light=side)
    box(canvas, x - 1.0 * size, y + 1.75 * size, x + 1.0 * size, 1.2, cloth)
    ellipse(canvas, x, y + 0.55 * size, 0.2 * size, 0.4 * size, 0.7 * skin)
    if long:
        ellipse(canvas, x, y + 0.2 * size, 0.5 * size, 0.75 * size, hair)
    ellipse(canvas, x, y - 0.06 * size, 0.42 * size, 0.5 * size, hair)
    turn = rng.uniform(-0.12, 0.12) * size
    if rng.random() < 0.8:  # the rest are seen from behind
        ellipse(canvas, x + turn, y + 0.06 * size, 0.34 * size, 0.44 * size, skin, round_light=side)
        ellipse(canvas, x + turn, y - 0.3 * size, 0.34 * size, 0.16 * size, hair)
        for eye in (-0.14, 0.14):
            at = x + 1.5 * turn + eye * size
            ellipse(canvas, at, y, 0.07 * size, 0.035 * size, 0.15 * skin)
        ellipse(canvas, x + 1.5 * turn, y + 0.28 * size, 0.12 * size, 0.035 * size,
                skin * np.array([0.7, 0.35, 0.35]))  # fmt: skip


def _people(rng: np.random.Generator) -> np.ndarray:
    """Other people, in a room or outdoors."""
    canvas = (_indoor, _outdoor, _night)[int(rng.integers(3))](rng)
    count = int(rng.integers(1, 6))
    for depth in sorted(rng.uniform(0, 1, count)):  # the farthest first
        x = rng.choice((rng.uniform(-0.05, 0.3), rng.uniform(0.7, 1.05)))
        _person(rng, canvas, x, rng.uniform(0.2, 0.55), 0.13 + 0.27 * depth)
    return canvas


def _press(rng: np.random.Generator) -> np.ndarray:
    """A press wall: rows of repeated names."""
    bright = rng.random() < 0.45
    ground = any_light(rng, 0.55, 0.95, 0.05) if bright else any_light(rng, 0.01, 0.25, 0.5)
    sheet = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(sheet)
    size = int(rng.integers(12, 34))
    font = ImageFont.load_default(size)
    words = ["".join(rng.choice(list(LETTERS), int(rng.integers(3, 8)))) for _ in range(2)]
    row, y = 0, -int(rng.integers(size))
    while y < CANVAS:
        word = words[row % 2]
        step = int(draw.textlength(word, font=font) * 1.35) + 8
        for x in range(-int(step * (0.3 + 0.5 * (row % 2))), CANVAS, step):
            draw.text((x, y), word, fill=255, font=font)
        row, y = row + 1, y + int(size * 2.1)
    ink = any_light(rng, 0.01, 0.3, 0.7) if bright else any_light(rng, 0.5, 1.0, 0.3)
    cover = np.asarray(sheet, np.float32)[..., None] / 255
    light = 1 + 0.25 * (_ACROSS - 0.5) * rng.uniform(-1, 1) - 0.2 * (_DOWN - 0.5)
    return (ground + cover * (ink - ground)) * light


def _night(rng: np.random.Generator) -> np.ndarray:
    """A dark hall or street: a few lights, hardly anything else."""
    canvas = blank(any_light(rng, 0.002, 0.04, 0.5))
    canvas *= 1 + 0.4 * clouds(rng, 1.5)[..., None]
    for _ in range(int(rng.integers(0, 6))):
        left, top = rng.uniform(-0.1, 1), rng.uniform(-0.1, 0.8)
        box(canvas, left, top, left + rng.uniform(0.03, 0.4), top + rng.uniform(0.05, 0.6),
            any_light(rng, 0.002, 0.15, 0.6))  # fmt: skip
    for _ in range(int(rng.integers(0, 5))):  # beams and lamps
        hue = any_light(rng, 0.2, 1.5, 0.7)
        x, y = rng.uniform(0, 1), rng.uniform(0, 0.6)
        square = ((_ACROSS - x) / rng.uniform(0.08, 0.3)) ** 2
        square = square + ((_DOWN - y) / rng.uniform(0.08, 0.4)) ** 2
        canvas += 0.2 * hue * np.exp(-square)
        disc(canvas, x, y, rng.uniform(0.01, 0.04), 2 * hue, 1.0)
    return canvas


def _blinds(rng: np.random.Generator) -> np.ndarray:
    """A window with blinds or boards of wood behind the person."""
    bright, dark = any_light(rng, 0.7, 1.6, 0.06), any_light(rng, 0.02, 0.35, 0.3)
    canvas = blank(bright)
    step, share = rng.uniform(0.025, 0.09), rng.uniform(0.15, 0.6)
    across = _DOWN if rng.random() < 0.75 else _ACROSS
    slats = ((across / step) % 1) < share
    canvas = np.where(slats, dark, canvas * np.ones_like(_ACROSS * _DOWN)).astype(np.float32)
    if rng.random() < 0.7:  # the frame, and the wall next to it
        edge = rng.uniform(-0.1, 0.5)
        wall = any_light(rng, 0.05, 0.5, 0.3)
        box(canvas, 0, 0, edge, 1, wall)
        box(canvas, edge - 0.03, 0, edge, 1, wall * rng.uniform(0.3, 1.8))
    if rng.random() < 0.5:
        x = rng.uniform(0.4, 1)
        box(canvas, x, 0, x + rng.uniform(0.01, 0.04), 1, any_light(rng, 0.1, 0.8, 0.1))
    return canvas


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "studio": _studio,
    "gradient": _gradient,
    "indoor": _indoor,
    "outdoor": _outdoor,
    "bokeh": _bokeh,
    "people": _people,
    "press": _press,
    "night": _night,
    "blinds": _blinds,
}


ZOOM = (0.8, 1.15)  # final pixels of an image 178 wide per pixel of the canvas
BRIGHTEST = 3.0


def _upsampling(fine: int, coarse: int) -> np.ndarray:
    """The matrix (fine, coarse) that interpolates linearly between pixels' centres."""
    at = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(coarse)), 0).astype(np.float32)


def _out_of_focus(canvas: np.ndarray, sigma: float) -> tuple[np.ndarray, int]:
    """The canvas blurred by `sigma` of its pixels, and the factor by which it is now smaller."""
    step = 1
    while sigma / step > 3 and step < 8:
        step *= 2
    if step > 1:
        side = CANVAS // step
        canvas = canvas.reshape(side, step, side, step, 3).mean((1, 3))
    sigma /= step
    return gaussian_filter(canvas, (sigma, sigma, 0), mode="nearest", truncate=2.5), step


def draw_background(scene: Scene) -> None:
    """Fills the whole image; depth and regions stay empty."""
    buffer, rng = scene.framebuffer, scene.rng("background")
    background = scene.shot.background
    # Painted at the final image's size: nothing in it is sharper than that.
    h, w = buffer.height // SUPERSAMPLING, buffer.width // SUPERSAMPLING
    canvas = KINDS[background.kind](rng).astype(np.float32)
    zoom = rng.uniform(*ZOOM) * w / 178
    small, step = _out_of_focus(canvas, background.blur * w / 178 / zoom)
    # The alignment has turned the surroundings with the head.
    turn = math.radians(scene.shot.camera.roll)
    scale = 1 / (zoom * step)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]])
    slack = np.maximum(CANVAS - np.array([h, w]) / zoom, 0) / step / 2
    middle = np.full(2, CANVAS / step / 2) + rng.uniform(-1, 1, 2) * slack
    offset = middle - matrix @ (np.array([h, w]) / 2)
    channels = [
        affine_transform(small[..., c], matrix, offset, (h, w), order=1, mode="nearest")
        for c in range(3)
    ]
    image = np.stack(channels, -1)
    image *= background.brightness * np.array(background.color, np.float32)
    coarse = np.clip(image, 0, BRIGHTEST).astype(np.float32)
    rows = np.tensordot(_upsampling(buffer.height, h), coarse, 1)
    buffer.color[:] = np.einsum("xw,ywc->yxc", _upsampling(buffer.width, w), rows, optimize=True)
