"""Rendered faces to calibrate quantisation with, where no records are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as counting

import numpy as np
from PIL import Image

__all__ = ["rendered_pictures"]


def rendered_pictures(image_size: int, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Synthetic faces as a network is given them in training, one a person.

    Args:
        image_size: Side S of the images.
        count: How many; each takes about a tenth of a second.
        seed: Of the persons.

    Yields:
        float32 (S, S, 3) in [0, 255].
    """
    from far_keras.synthetic.people.population import Population
    from far_keras.synthetic.renderer import render

    population = Population(seed)
    subjects = (population.subject(identity) for identity in counting())
    for _ in range(count):
        subject = next(subject for subject in subjects if subject.person is not None)
        assert subject.person is not None
        picture = Image.fromarray(render(subject.person, subject.shots[0]).image)
        size = (image_size, image_size)
        yield np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32)
