"""Development of linear light into a photograph, and the photograph's border.

In a real camera's order: exposure and white balance, the lens (blur, motion, vignette, haze), the
tone curve, fewer pixels than the final image has, the sensor's noise, compression, then contrast,
colour and sharpening.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from far_keras.faces.region_map import Region
from far_keras.synthetic.parameters import Camera, Finish, Shot

__all__ = ["add_border", "develop"]

# A lens is never perfectly sharp: standard deviation in final pixels.
LENS_BLUR = 0.46
WARMTH = 0.22  # how far the strongest white balance moves red and blue
SHOULDER = 0.22  # how gently highlights approach white
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SEPIA = np.array([1.09, 0.98, 0.80], np.float32)
MIDDLE = 0.55  # display value that contrast leaves as it is


def develop(color: np.ndarray, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """Linear light (H, W, 3) float32 to an image (H, W, 3) uint8, by the shot's camera."""
    camera, finish = shot.camera, shot.finish
    warm = WARMTH * camera.white_balance
    green = 1 - 0.12 * camera.tint
    light = np.maximum(color, 0) * np.array([1 + warm, green, 1 - warm], np.float32)
    light = _through_lens(light * camera.exposure, camera, finish)
    image = _sensed(_tone_curve(light), camera, rng)
    return np.rint(np.clip(_finished(image, finish), 0, 1) * 255).astype(np.uint8)


def _through_lens(light: np.ndarray, camera: Camera, finish: Finish) -> np.ndarray:
    if finish.vignette:
        height, width = light.shape[:2]
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
        light = light * (1 - 0.5 * finish.vignette * (x * x + y * y)).astype(np.float32)[..., None]
    sigma = math.hypot(LENS_BLUR, camera.blur)
    light = gaussian_filter(light, (sigma, sigma, 0), truncate=3.0)
    if camera.motion >= 1:
        light = _moved(light, camera.motion, camera.motion_angle)
    if finish.fade:  # light that strays in the lens, whiter than what it comes from
        stray = 0.5 * light.mean((0, 1)) + 0.5 * light.mean()
        light = light * (1 - 0.5 * finish.fade) + finish.fade * np.maximum(stray, 0.4)
    return light


def _moved(light: np.ndarray, length: float, angle: float) -> np.ndarray:
    """The mean of the image along a line of `length` pixels."""
    steps = max(round(length), 1)
    reach = math.ceil(length / 2) + 1
    height, width = light.shape[:2]
    padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(light)
    for at in np.linspace(-length / 2, length / 2, steps + 1):
        y = reach + round(at * math.sin(math.radians(angle)))
        x = reach + round(at * math.cos(math.radians(angle)))
        total += padded[y : y + height, x : x + width]
    return total / (steps + 1)


def _tone_curve(light: np.ndarray) -> np.ndarray:
    """Linear light to display values in [0, 1]: a soft shoulder, then the sRGB curve."""
    bright = light * (1 + SHOULDER * light * 0.35) / (1 + SHOULDER * light)
    bright = np.clip(bright, 0, 1)
    return np.where(bright <= 0.0031308, 12.92 * bright, 1.055 * bright ** (1 / 2.4) - 0.055)


def _sensed(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """The image with its noise, in as many pixels as the photograph's face has."""
    height, width = image.shape[:2]
    small = (max(round(width * camera.resolution), 8), max(round(height * camera.resolution), 8))
    if camera.resolution < 1:
        image = np.asarray(_quantized(image).resize(small, Image.Resampling.BOX)) / 255.0
    if camera.noise:
        grain = rng.normal(0, 1, image.shape).astype(np.float32)
        grain = 0.75 * grain + 0.45 * grain[..., 1:2]  # sensors' noise is partly common to colours
        image = image + camera.noise * grain * (1.1 - 0.6 * image)
    if camera.resolution < 1:
        buffer = io.BytesIO()
        _quantized(image).save(buffer, "JPEG", quality=camera.jpeg_quality)
        with Image.open(buffer) as stored:
            enlarged = stored.resize((width, height), Image.Resampling.BICUBIC)
        image = np.asarray(enlarged) / 255.0
    return image.astype(np.float32)


def _quantized(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))


def _graded(tone: np.ndarray, slope: float) -> np.ndarray:
    """A gradation curve through 0, `MIDDLE` and 1, of that slope in the middle; it never falls."""
    below = MIDDLE * (np.minimum(tone, MIDDLE) / MIDDLE) ** slope
    above = (1 - MIDDLE) * (1 - ((1 - np.maximum(tone, MIDDLE)) / (1 - MIDDLE)) ** slope)
    return below + above


def _finished(image: np.ndarray, finish: Finish) -> np.ndarray:
    """Contrast, colour and sharpening of display values."""
    if finish.contrast != 1:
        # Mostly of the brightness: channel by channel, colours would become lurid.
        tone = 0.3 * image + 0.7 * (image @ LUMA)[..., None]
        tone = np.clip(tone, 0, 1)
        image = image + _graded(tone, finish.contrast) - tone
    if finish.saturation != 1:
        gray = (image @ LUMA)[..., None]
        image = gray + finish.saturation * (image - gray)
    if finish.toning:
        image = image * (1 + finish.toning * (SEPIA - 1))
    if finish.sharpening:
        image = image + finish.sharpening * (image - gaussian_filter(image, (0.9, 0.9, 0)))
    return image


def add_border(image: np.ndarray, regions: np.ndarray, shot: Shot) -> None:
    """Replaces what lies beyond the photograph's edges in image and region map, in place.

    Alignments fill that with black, repeat the outermost pixels, or mirror the photograph; its
    region becomes OCCLUDER. The edges are turned by the same angle as the head.
    """
    border = shot.border
    if border is None:
        return
    height, width = regions.shape
    scale = width / 178
    turn = math.radians(shot.camera.roll)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    outside = np.zeros(regions.shape, bool)
    sides = ((border.left, -1, 0), (border.right, 1, 0), (border.top, 0, -1), (border.bottom, 0, 1))
    for depth, across, down in sides:
        if depth <= 0:
            continue
        # The unit vector out of the photograph, and how far each pixel lies along it.
        out_x = across * math.cos(turn) - down * math.sin(turn)
        out_y = across * math.sin(turn) + down * math.cos(turn)
        reach = (width if across else height) / 2 - depth * scale
        beyond = (x - (width - 1) / 2) * out_x + (y - (height - 1) / 2) * out_y - reach
        outside |= beyond > 0
        back = np.maximum(beyond, 0) * (2 if border.fill == "mirrored" else 1)
        x, y = x - back * out_x, y - back * out_y
    rows = np.clip(np.rint(y), 0, height - 1).astype(int)
    columns = np.clip(np.rint(x), 0, width - 1).astype(int)
    image[:] = image[rows, columns]
    if border.fill == "blank":
        image[outside] = 0
    regions[outside] = Region.OCCLUDER
