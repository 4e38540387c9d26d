import numpy as np

from far_keras.faces.landmarks import FaceLandmarker
from far_keras.synthetic.negatives import render_negative
from far_keras.synthetic.regions import Region


def test_pictures_are_varied_and_belong_to_their_seed():
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


def test_two_fifths_are_likenesses_of_people():
    by_seed = [render_negative([1, seed])[0] for seed in range(40)]
    with FaceLandmarker() as landmarker:
        faces = sum(bool(landmarker.detect(image)) for image in by_seed)
    assert 6 <= faces <= 22
