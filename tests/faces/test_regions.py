import time

import numpy as np
import pytest

from far_keras.faces.alignment import LEFT_EYE, RIGHT_EYE
from far_keras.faces.region_map import Region, true_masks
from far_keras.faces.regions import HeadFrame, pack_masks, region_masks, unpack_masks
from far_keras.geometry import convex_hull, fill_polygons
from far_keras.schema import REGIONS

MOUTH, EAR, LOWER_FACE, CHEEKS, NOSE, EYES, HAIR, OBJECT = range(8)


def overlap(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


@pytest.fixture(scope="module")
def faces(render_face, landmarker):
    """Rendering and landmarks of six people, looking ahead."""
    found = []
    for identity in range(1, 7):
        rendering = render_face(identity)
        found.append((rendering, landmarker.detect(rendering.image)[0]))
    return found


@pytest.mark.parametrize("with_image", [False, True])
def test_shape_and_relations(faces, with_image):
    for rendering, landmarks in faces:
        masks = region_masks(landmarks, image=rendering.image if with_image else None)
        assert masks.shape == (218, 178, len(REGIONS))
        assert masks.dtype == bool
        for region in (MOUTH, EAR, CHEEKS, NOSE, EYES, HAIR):
            # Cheeks and lower face reach the oval's own border, give or take the line's pixel.
            assert (masks[..., region] & ~masks[..., OBJECT]).sum() <= 12, REGIONS[region]
        assert (masks[..., MOUTH] & masks[..., LOWER_FACE]).sum() > 0.8 * masks[..., MOUTH].sum()
        assert not (masks[..., EAR] & masks[..., HAIR]).any()
        assert not (masks[..., EYES] & masks[..., MOUTH]).any()
        x, y = np.round(landmarks[[468, 473], :2]).astype(int).T
        assert masks[y, x, EYES].all()  # the irises
        tip_x, tip_y = np.round(landmarks[1, :2]).astype(int)
        assert masks[tip_y, tip_x, NOSE]


def test_masks_cover_the_rendered_truth(faces):
    truths = [true_masks(rendering.regions) for rendering, _ in faces]
    masks = [region_masks(landmarks, image=r.image) for r, landmarks in faces]
    least = {MOUTH: 0.65, LOWER_FACE: 0.6, CHEEKS: 0.55, NOSE: 0.6, EYES: 0.65, OBJECT: 0.8}
    for region, bound in least.items():
        mean = np.mean(
            [overlap(m[..., region], t[..., region]) for m, t in zip(masks, truths, strict=True)]
        )
        # Well below the means over hundreds of faces that benchmarks/masks.py prints.
        assert mean > bound, (REGIONS[region], mean)


def test_colours_find_hair_that_the_pose_alone_cannot(faces):
    with_colours, without = [], []
    for rendering, landmarks in faces:
        hair = true_masks(rendering.regions)[..., HAIR]
        if hair.sum() > 200:
            with_colours.append(
                overlap(region_masks(landmarks, image=rendering.image)[..., HAIR], hair)
            )
            without.append(overlap(region_masks(landmarks)[..., HAIR], hair))
    assert np.mean(with_colours) > np.mean(without) + 0.1
    assert np.mean(with_colours) > 0.5


@pytest.mark.parametrize("yaw", [-30, 30])
def test_a_turned_head_shows_one_ear(render_face, landmarker, yaw):
    areas = []
    for identity in (1, 2):
        (landmarks,) = landmarker.detect(render_face(identity, yaw=yaw).image)
        ear = region_masks(landmarks)[..., EAR]
        middle = round(landmarks[1, 0])
        areas.append((ear[:, :middle].sum(), ear[:, middle:].sum()))
    left, right = np.mean(areas, 0)
    near, far = (left, right) if yaw > 0 else (right, left)
    assert near > 2 * far


def test_masks_turn_with_the_head(render_face, landmarker):
    (upright,) = landmarker.detect(render_face(2).image)
    angle = np.radians(20)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    tilted = upright.copy()
    tilted[:, :2] = (tilted[:, :2] - (89, 120)) @ rotation.T + (89, 120)
    y, x = np.mgrid[:218, :178]
    source = (np.stack([x, y], -1) - (89, 120)) @ rotation + (89, 120)
    columns, rows = np.round(source).astype(int).transpose(2, 0, 1)
    inside = (columns >= 0) & (columns < 178) & (rows >= 0) & (rows < 218)
    turned = np.zeros((218, 178, 8), bool)
    turned[inside] = region_masks(upright)[rows[inside], columns[inside]]
    masks = region_masks(tilted)
    for region in (MOUTH, NOSE, EYES, OBJECT):
        visible = masks[..., region] & inside
        assert overlap(visible, turned[..., region]) > 0.85, REGIONS[region]


def test_masks_at_another_size(faces):
    rendering, landmarks = faces[1]  # whose mouth is open: closed ones are 3 rows high
    double = landmarks * 2 + (0.5, 0.5, 0)  # pixel centres
    image = rendering.image.repeat(2, 0).repeat(2, 1)
    small = region_masks(landmarks, image=rendering.image).repeat(2, 0).repeat(2, 1)
    large = region_masks(double.astype(np.float32), (436, 356), image)
    for region in (MOUTH, LOWER_FACE, CHEEKS, NOSE, EYES, HAIR, OBJECT):
        assert overlap(small[..., region], large[..., region]) > 0.9, REGIONS[region]


def test_wrong_arguments(faces):
    _, landmarks = faces[0]
    with pytest.raises(ValueError, match=r"landmarks: expected shape \(478, 3\).*\(478, 2\)"):
        region_masks(landmarks[:, :2])
    with pytest.raises(ValueError, match=r"image: expected shape \(218, 178, 3\)"):
        region_masks(landmarks, image=np.zeros((100, 100, 3), np.uint8))


def test_landmarks_outside_the_image(faces):
    _, landmarks = faces[0]
    shifted = landmarks + np.float32([1000, 0, 0])
    masks = region_masks(shifted, image=np.zeros((218, 178, 3), np.uint8))
    assert not masks[..., [MOUTH, EAR, NOSE, EYES, CHEEKS]].any()


def test_masks_take_milliseconds(faces):
    rendering, landmarks = faces[0]
    region_masks(landmarks, image=rendering.image)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        region_masks(landmarks, image=rendering.image)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.02  # 3 ms when nothing else runs


def test_pack_and_unpack():
    masks = np.random.default_rng(0).random((7, 5, 8)) > 0.5
    packed = pack_masks(masks)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed & 1 > 0, masks[..., 0])
    np.testing.assert_array_equal(packed >> OBJECT & 1 > 0, masks[..., OBJECT])
    np.testing.assert_array_equal(unpack_masks(packed), masks)
    with pytest.raises(ValueError, match="expected bool"):
        pack_masks(masks.astype(np.uint8))
    with pytest.raises(ValueError, match="expected bool"):
        pack_masks(masks[..., :7])
    with pytest.raises(ValueError, match="expected uint8"):
        unpack_masks(masks)


def test_a_ninth_region_is_refused_instead_of_dropped(monkeypatch):
    monkeypatch.setattr("far_keras.faces.regions.REGIONS", (*REGIONS, "neck"))
    with pytest.raises(ValueError, match=r"at most 8 regions.*Received: 9\. Widen"):
        pack_masks(np.zeros((7, 5, 9), bool))


def test_head_frame_of_a_known_pose(faces):
    _, landmarks = faces[0]
    frame = HeadFrame.from_landmarks(landmarks)
    np.testing.assert_allclose(frame.axes @ frame.axes.T, np.eye(3), atol=1e-9)
    ears = frame.project(np.array([[-0.5, 0, 0], [0.5, 0, 0]]))
    np.testing.assert_allclose(ears, landmarks[[234, 454], :2], atol=0.05 * frame.scale)
    assert frame.axes[0, 0] > 0.9  # across: to the right
    assert frame.axes[1, 1] < -0.9  # up
    assert frame.axes[2, 2] < -0.9  # out of the face, towards the camera


def test_hull_and_filling():
    points = np.array([(0, 0), (4, 0), (4, 4), (0, 4), (2, 2), (1, 3), (4, 2)])
    hull = convex_hull(points)
    assert sorted(map(tuple, hull)) == [(0, 0), (0, 4), (4, 0), (4, 4)]
    np.testing.assert_array_equal(convex_hull(points[:1]), points[:1])
    filled = fill_polygons([hull + 1, np.zeros((0, 2))], (8, 9))
    expected = np.zeros((8, 9), bool)
    expected[1:6, 1:6] = True
    np.testing.assert_array_equal(filled, expected)
    assert len(set(LEFT_EYE) | set(RIGHT_EYE)) == 32


def test_true_masks_of_a_drawn_map():
    region_map = np.full((218, 178), Region.BACKGROUND, np.uint8)
    region_map[20:60, 50:130] = Region.HAIR
    region_map[60:170, 50:130] = Region.SKIN
    region_map[170:218, 60:120] = Region.NECK
    region_map[100:140, 80:100] = Region.NOSE
    region_map[150:160, 75:105] = Region.LIPS
    region_map[154:156, 80:100] = Region.MOUTH_INSIDE
    region_map[109:114, 60:75] = Region.EYE
    region_map[100:102, 60:75] = Region.BROW
    region_map[100:115, 100:125] = Region.GLASSES  # hides the other eye
    region_map[100:120, 45:50] = Region.EAR
    region_map[118:120, 45:50] = Region.EARRING
    region_map[30:40, 50:130] = Region.HAT
    masks = dict(zip(REGIONS, np.moveaxis(true_masks(region_map), -1, 0), strict=True))
    np.testing.assert_array_equal(np.argwhere(masks["mouth"]).min(0), (150, 75))
    assert masks["mouth"].sum() == 10 * 30
    assert masks["ear"].sum() == 100
    assert masks["hair"].sum() == 40 * 80
    assert masks["nose"].sum() == 40 * 20
    assert masks["eyes"][:, :89].sum() == 14 * 15  # the hull of brow and eye
    assert masks["eyes"][:, 89:].sum() == 15 * 25
    assert masks["lower_face"].sum() == 30 * 80  # below the nose, lips included
    rows, columns = np.nonzero(masks["cheeks"])
    assert (rows.min(), rows.max()) == (122, 154)
    assert not ((columns >= 80) & (columns < 100)).any()
    assert masks["object"].sum() == (region_map != 0).sum() - (region_map == Region.NECK).sum()


def test_true_masks_of_an_empty_map():
    assert not true_masks(np.zeros((218, 178), np.uint8)).any()
