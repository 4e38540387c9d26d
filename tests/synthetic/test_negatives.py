"""Images without a face: they vary, statues and drawings keep a person's shape."""

import numpy as np
import pytest

from far_keras.faces.landmarks import FaceLandmarker
from far_keras.faces.region_map import Region
from far_keras.synthetic.negatives import DRAWINGS, STATUES, drawing, render_negative, statue


def test_images_vary_and_depend_on_the_seed_only():
    images = []
    for seed in range(20):
        image, regions = render_negative(seed)
        assert image.shape == (218, 178, 3) and image.dtype == np.uint8
        assert regions.shape == (218, 178) and (regions == Region.BACKGROUND).all()
        assert image.std() > 2  # not one flat colour
        images.append(image)
    assert len({image.tobytes() for image in images}) == len(images)
    again, _ = render_negative(3)
    np.testing.assert_array_equal(again, images[3])


def test_two_fifths_show_people():
    by_seed = [render_negative([1, seed])[0] for seed in range(40)]
    with FaceLandmarker() as landmarker:
        faces = sum(bool(landmarker.detect(image)) for image in by_seed)
    assert 6 <= faces <= 22


def _chroma(pixels: np.ndarray) -> np.ndarray:
    """(N, 2) shares of red and green in what a pixel reflects."""
    pixels = pixels.astype(float) + 1
    return pixels[:, :2] / pixels.sum(1, keepdims=True)


@pytest.mark.parametrize("material", STATUES)
def test_a_statue_is_of_one_material_and_keeps_its_shape(
    make_person, make_shot, material, rendered
):
    rendering = rendered(make_person(), make_shot(hat="cap", hat_color=(0.6, 0.02, 0.02)))
    carved = statue(rendering, material, np.random.default_rng(0))
    body = np.isin(rendering.regions, (Region.SKIN, Region.LIPS, Region.HAT, Region.EYE))
    dim = carved.max(2) < 250  # not overexposed
    assert (
        _chroma(carved[body & dim]).std(0).max() < 0.02 < _chroma(rendering.image[body]).std(0)[0]
    )
    skin = (rendering.regions == Region.SKIN) & dim
    shading = np.corrcoef(carved[skin].mean(1), rendering.image[skin].mean(1))[0, 1]
    assert shading > 0.7
    behind = rendering.regions == Region.BACKGROUND
    np.testing.assert_array_equal(carved[behind], rendering.image[behind])


@pytest.mark.parametrize("style", DRAWINGS)
def test_a_drawing_has_its_lines_where_the_image_has_edges(make_person, make_shot, style, rendered):
    rendering = rendered(make_person(), make_shot())
    drawn = drawing(rendering, style, np.random.default_rng(0)).astype(float).mean(2)
    skin, brow = (rendering.regions == region for region in (Region.SKIN, Region.BROW))
    assert np.median(drawn[skin]) > np.median(drawn[brow]) + 20
    again = drawing(rendering, style, np.random.default_rng(0)).astype(float).mean(2)
    np.testing.assert_array_equal(drawn, again)
