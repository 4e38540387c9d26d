"""A short video: a person who moves to and fro, and one who leaves half-way."""

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from far_keras.recognition.recognizer import Recognizer

FRAMES, RATE = 24, 12.0
LEFT, SECOND = 40, 330  # where the two stand at first


def frame(number):
    """Frame of 480 x 240: uint8 RGB."""
    image = np.full((240, 480, 3), 80, np.uint8)
    x = LEFT + 2 * number
    image[:, x : x + 220] = astronaut()[10:250, 120:340]
    if number < FRAMES // 2:
        small = cv2.resize(astronaut()[10:250, 340:120:-1], (110, 120))
        image[100:220, SECOND : SECOND + 110] = small
    return image


def write(path, frames, rate=RATE, codec="MJPG"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    for image in frames:
        writer.write(np.ascontiguousarray(image[:, :, ::-1]))
    writer.release()
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.avi"
    return write(path, [frame(number) for number in range(FRAMES)])


@pytest.fixture(scope="session")
def recognizer(model_folder):
    with Recognizer.load(model_folder) as recognizer:
        yield recognizer
