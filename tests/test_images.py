import io

import numpy as np
import pytest
from PIL import Image

from far_keras.errors import ImageError
from far_keras.images import (
    ImageInput,
    expand_folders,
    is_video,
    list_images,
    read_image,
    resize_image,
    write_image,
)


def gradient(width=60, height=40):
    """An image in which every pixel's place shows in its colour."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), x * 0 + 90], -1).astype("u1")


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def test_png_path_bytes_and_array_give_the_same_pixels(tmp_path):
    path = saved(tmp_path / "a.png", gradient())
    for source in (path, str(path), path.read_bytes(), gradient()):
        image = read_image(source)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, gradient())


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    original = Image.fromarray(gradient()).convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    image = read_image(saved(tmp_path / f"a.{suffix}", original))
    np.testing.assert_array_equal(image, np.asarray(original.convert("RGB")))


def test_cmyk_jpeg_keeps_its_colours(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(gradient()).convert("CMYK"), quality=95)
    assert Image.open(path).mode == "CMYK"
    # JPEG loses a little in each of the four channels
    assert np.abs(read_image(path).astype(int) - gradient()).mean() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(tmp_path, mode):
    original = Image.fromarray(gradient()).convert(mode)
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:, :20] = 0
    original.putalpha(Image.fromarray(alpha))
    image = read_image(saved(tmp_path / "a.png", original))
    assert (image[:, :20] == 255).all()
    opaque = np.asarray(Image.fromarray(gradient()).convert(mode[:-1]).convert("RGB"))
    np.testing.assert_array_equal(image[:, 20:], opaque[:, 20:])


def test_palette_with_a_transparent_colour_over_white(tmp_path):
    indices = np.zeros((4, 4), np.uint8)
    indices[:2] = 1
    original = Image.new("P", (4, 4))
    original.putpalette([10, 20, 30, 40, 50, 60])
    original.putdata(indices.ravel().tolist())
    image = read_image(saved(tmp_path / "a.png", original, transparency=1))
    assert (image[:2] == 255).all()
    assert (image[2:] == [10, 20, 30]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_uses_the_whole_range(tmp_path, suffix):
    values = np.linspace(0, 65535, 40 * 60).astype(np.uint16).reshape(40, 60)
    image = read_image(saved(tmp_path / f"a.{suffix}", values))
    np.testing.assert_array_equal(image, np.repeat((values // 257)[..., None], 3, -1))
    assert image.max() == 255


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_once(tmp_path, orientation, suffix):
    upright = Image.fromarray(gradient())
    # how a camera stores an upright scene under each orientation value
    to_stored = [
        lambda im: im,
        lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda im: im.transpose(Image.Transpose.ROTATE_180),
        lambda im: im.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        lambda im: im.transpose(Image.Transpose.TRANSPOSE),
        lambda im: im.transpose(Image.Transpose.ROTATE_90),
        lambda im: im.transpose(Image.Transpose.TRANSVERSE),
        lambda im: im.transpose(Image.Transpose.ROTATE_270),
    ]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a{suffix}", to_stored[orientation - 1](upright), exif=exif)
    np.testing.assert_array_equal(read_image(path), gradient())
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(opened), gradient())


def test_one_pixel(tmp_path):
    path = saved(tmp_path / "a.png", np.full((1, 1, 3), 7, np.uint8))
    np.testing.assert_array_equal(read_image(path), [[[7, 7, 7]]])


@pytest.mark.parametrize("size", [(5000, 1000), (1000, 5000), (5000, 1)])
def test_large_images_shrink_to_max_pixels_and_keep_their_shape(tmp_path, size):
    path = saved(tmp_path / "a.jpg", Image.new("RGB", size, (200, 100, 50)))
    image = read_image(path, max_pixels=max(1, size[0] * size[1] // 25))
    assert image.shape == (max(1, size[1] // 5), max(1, size[0] // 5), 3)
    np.testing.assert_allclose(image.mean((0, 1)), (200, 100, 50), atol=2)
    assert read_image(path, max_pixels=None).shape == (size[1], size[0], 3)


def test_12000_by_9000_jpeg(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("L", (12000, 9000), 77), quality=50)
    image = read_image(path)
    assert image.shape == (3072, 4096, 3)
    assert abs(image.mean() - 77) <= 1  # JPEG rounds


def test_a_panorama_keeps_its_height(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("L", (16000, 600), 77))
    assert read_image(path).shape == (600, 16000, 3)


def test_a_jpeg_of_any_size_is_decoded_reduced(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("L", (20000, 10000), 77), quality=50)
    height, width, _ = read_image(path).shape
    assert abs(width - 2 * height) <= 1 and 0.9 < width * height / (4096 * 3072) <= 1.01


@pytest.mark.parametrize("name", ["x.jpg", "x.eps"])
def test_postscript_is_not_read_and_starts_no_program(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n{} loop\n")
    with pytest.raises(ImageError, match=r"expected an image \(JPEG, PNG, WebP, TIFF, BMP or GIF"):
        read_image(path)


def test_a_multi_picture_jpeg_of_a_phone(tmp_path):
    first = Image.fromarray(gradient())
    path = tmp_path / "a.jpg"
    first.save(path, "MPO", save_all=True, append_images=[first.rotate(90)], quality=100)
    assert np.abs(read_image(path).astype(int) - gradient()).mean() < 3


def test_small_images_are_not_enlarged(tmp_path):
    assert read_image(gradient(), max_pixels=10_000).shape == (40, 60, 3)


def jpeg():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_truncated_jpeg(tmp_path, keep):
    path = tmp_path / "cut.jpg"
    path.write_bytes(jpeg()[: int(len(jpeg()) * keep)])
    with pytest.raises(ImageError, match=r"cut\.jpg.*truncated or damaged"):
        read_image(path)


def test_truncated_png(tmp_path):
    content = saved(tmp_path / "a.png", gradient()).read_bytes()
    with pytest.raises(ImageError, match="truncated or damaged"):
        read_image(content[: len(content) // 2])


def test_text_named_jpg(tmp_path):
    path = tmp_path / "note.jpg"
    path.write_text("this is no image")
    with pytest.raises(ImageError, match=r"note\.jpg.*another kind, whatever its name says"):
        read_image(path)


def test_empty_file_folder_and_missing_file(tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(ImageError, match=r"empty\.jpg.*empty file"):
        read_image(empty)
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match=r"gone\.jpg.*No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="0 bytes"):
        read_image(b"")


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = saved(tmp_path / "a.png", Image.new("1", (20000, 10001)))
    with pytest.raises(ImageError, match=r"a\.png.*179 million pixels.*Scale it down"):
        read_image(path)


def test_floating_point_tiff_is_refused(tmp_path):
    path = saved(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    with pytest.raises(ImageError, match="floating point"):
        read_image(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 4, 3), np.float32), r"float32.*multiply by 255"),
        (np.ones((4, 4, 3), np.int64), "int64"),
        (np.ones((4, 4, 3), bool), "bool"),
        (np.ones((2, 4, 4, 3), np.uint8), r"\(2, 4, 4, 3\).*one by one"),
        (np.ones((3, 4, 4), np.uint8)[..., :2], r"\(3, 4, 2\)"),
        (np.ones((0, 4, 3), np.uint8), r"non-empty.*\(0, 4, 3\)"),
        (np.ones(4, np.uint8), r"\(4,\)"),
    ],
)
def test_unsuitable_arrays(array, message):
    with pytest.raises(ImageError, match=message):
        read_image(array)


def test_grey_and_rgba_arrays():
    grey = gradient()[..., 0]
    expected = np.repeat(grey[..., None], 3, -1)
    np.testing.assert_array_equal(read_image(grey), expected)
    np.testing.assert_array_equal(read_image(grey[..., None]), expected)
    clear = np.concatenate([gradient(), np.zeros((40, 60, 1), np.uint8)], -1)
    assert (read_image(clear) == 255).all()


def test_sources_of_other_types_are_named():
    with pytest.raises(ImageError, match="type list"):
        read_image([1, 2])  # type: ignore[arg-type]


def test_list_images_is_sorted_and_leaves_out_other_files(tmp_path):
    for name in ("b.JPG", "a.png", ".hidden.jpg", "notes.txt", "below/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.png", "b.JPG"]


def test_list_images_without_images(tmp_path):
    with pytest.raises(ImageError, match="0 other entries"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="nothing of that name"):
        list_images(tmp_path / "gone")


def test_write_image_never_leaves_an_incomplete_file(tmp_path):
    path = tmp_path / "new" / "a.png"
    write_image(path, gradient())
    np.testing.assert_array_equal(read_image(path), gradient())
    with pytest.raises(Exception):  # noqa: B017  # Pillow's own, whichever it is
        write_image(path, np.zeros((3, 3, 7)))
    np.testing.assert_array_equal(read_image(path), gradient())
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(ImageError, match=r"\.jpg"):
        write_image(tmp_path / "a.doc", gradient())


def test_folders_are_expanded_and_empty_ones_refused(tmp_path):
    for name in ("b.png", "a.jpg"):
        saved(tmp_path / name, gradient())
    (tmp_path / "notes.txt").write_text("no image")
    other = tmp_path / "elsewhere" / "c.png"
    assert expand_folders([tmp_path, other]) == [tmp_path / "a.jpg", tmp_path / "b.png", other]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty"):
        expand_folders([tmp_path / "empty"])


def test_an_input_is_one_image_several_or_a_video(tmp_path):
    path = saved(tmp_path / "a.png", gradient())
    for source in (path, str(path), path.read_bytes(), gradient(), Image.open(path), "none.png"):
        given = ImageInput.resolve(source)
        assert given.single and given.video is None
        ((name, image),) = given.images
        assert image is source
        assert name == (str(source) if isinstance(source, type(path) | str) else "image 0")
    several = ImageInput.resolve(tmp_path)
    assert (several.single, several.video) == (False, None)
    assert list(several.images) == [(str(path), path)]
    names = [name for name, _ in ImageInput.resolve(iter([gradient(), path, None])).images]
    assert names == ["image 0", str(path), "image 2"]
    clip = ImageInput.resolve(str(tmp_path / "clip.MP4"))
    assert (clip.single, clip.video, list(clip.images)) == (False, tmp_path / "clip.MP4", [])
    assert not is_video("clip.jpg") and not is_video("mp4")


def test_other_inputs_are_refused(tmp_path):
    with pytest.raises(ImageError, match="images: expected an image, a folder or an iterable"):
        ImageInput.resolve(7)
    with (
        (tmp_path / "photo.jpg").open("w+b") as file,
        pytest.raises(ImageError, match="type BufferedRandom; give its path"),
    ):
        ImageInput.resolve(file)


def test_resize_image_is_antialiased_bilinear():
    image = gradient(120, 80)
    expected = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    resized = resize_image(image, 32)
    assert resized.shape == (32, 32, 3) and resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, np.asarray(expected))
    checkers = np.repeat((np.indices((320, 320)).sum(0) % 2 * 255)[..., None], 3, -1)
    assert np.ptp(resize_image(checkers.astype(np.uint8), 32)) < 10  # no aliasing
