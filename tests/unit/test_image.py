"""Images and masks in all color modes."""

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from samtailor.data import image as reading
from samtailor.data.notices import collected
from samtailor.data.placement import same_aspect
from samtailor.errors import DataError, InputError
from samtailor.masks.rle import encode, from_box, from_index_map, from_polygons, validated

# pycocotools' decode under NumPy 2; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
CORNERS = RGB // 128 * 255  # eight colors: a palette holds them exactly


def save(path, values, **options):
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("rgb.png", RGB, RGB),
        ("gray.png", GRAY, np.repeat(GRAY[..., None], 3, 2)),
        ("bit.png", Image.fromarray(GRAY > 99), np.repeat(((GRAY > 99) * 255)[..., None], 3, 2)),
        ("palette.png", Image.fromarray(CORNERS).convert("P", palette=Image.Palette.ADAPTIVE), CORNERS),
        ("deep.png", GRAY.astype(np.uint16) << 8, np.repeat(GRAY[..., None], 3, 2)),
        ("twelve.png", GRAY.astype(np.uint16) << 4, None),
        ("shallow.png", GRAY.astype(np.uint16), np.repeat(GRAY[..., None], 3, 2)),
        ("float.tif", (GRAY / 255).astype(np.float32), np.repeat(GRAY[..., None], 3, 2)),
        ("int.tif", GRAY.astype(np.int32) << 8, np.repeat(GRAY[..., None], 3, 2)),
    ],
)
def test_color_modes_are_converted_to_rgb(tmp_path, name, image, expected):
    got = reading.read_image(save(tmp_path / name, image))
    assert got.dtype == np.uint8
    assert got.shape == (20, 30, 3)
    if expected is not None:
        np.testing.assert_array_equal(got, expected)


def test_twelve_bits_keep_their_brightness(tmp_path):
    values = (GRAY.astype(np.uint16) << 4) | 15  # largest value 4095
    got = reading.read_image(save(tmp_path / "a.png", values))
    np.testing.assert_array_equal(got[..., 0], GRAY)


def test_cmyk(tmp_path):
    got = reading.read_image(save(tmp_path / "a.jpg", Image.new("CMYK", (8, 6), (0, 255, 255, 0)), quality=95))
    assert got.shape == (6, 8, 3)
    assert got[0, 0, 0] > 200
    assert got[0, 0, 1] < 60


def test_transparency_is_composited_over_white(tmp_path):
    values = np.zeros((4, 5, 4), np.uint8)
    values[:, :2] = (10, 20, 30, 255)
    got = reading.read_image(save(tmp_path / "a.png", values))
    np.testing.assert_array_equal(got[0, 0], (10, 20, 30))
    np.testing.assert_array_equal(got[0, 4], (255, 255, 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_exif_rotation(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = np.asarray(Image.fromarray(RGB[:4, :6]).resize((48, 32), Image.Resampling.BICUBIC))
    path = save(tmp_path / f"a.{ending}", smooth, exif=exif)
    stored = np.asarray(Image.open(path).convert("RGB"))
    got = reading.read_image(path)
    np.testing.assert_array_equal(got, reading.turn(stored, orientation))
    head = reading.header(path)
    assert head.size == got.shape[:2]
    assert head.stored == stored.shape[:2]
    assert head.orientation == orientation
    if orientation == 6:  # the phone was held upright: the stored left edge is the top
        np.testing.assert_array_equal(got[:, -1], stored[0])
    small = reading.read_thumbnail(path, 8)
    whole = np.asarray(Image.fromarray(got).convert("L").resize((8, 8), Image.Resampling.BOX), np.float32)
    assert np.abs(small - whole).max() < 20


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing", "folder"])
def test_an_error_names_the_damaged_file(tmp_path, damage):
    path = tmp_path / "broken.png"
    save(path, RGB)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not an image")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(DataError, match=r"broken\.png"):
        reading.read_image(path)
    with pytest.raises(DataError, match=r"broken\.png"):
        reading.read_mask(path)


def test_too_many_pixels_is_a_clear_error(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", np.zeros((100, 100), np.uint8))
    for limit in (100 * 100 // 3, 100 * 100 - 1):  # Pillow raises above twice its limit and warns above it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=r"bomb\.png.*--max-pixels"):
            reading.read_image(path)


def test_a_png_with_a_wrong_size(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 500, 500, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    (tmp_path / "liar.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match=r"liar\.png"):
        reading.read_image(tmp_path / "liar.png")


MASK = GRAY > 120


def palette(indices, colors):
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(colors)
    return image


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", MASK.astype(np.uint8)),
        ("a.png", MASK.astype(np.uint8) * 255),
        ("a.png", Image.fromarray(MASK)),
        ("a.bmp", MASK.astype(np.uint8) * 255),
        ("a.png", MASK.astype(np.uint16) * 7000),
        ("a.png", np.repeat(MASK[..., None] * np.uint8(255), 3, 2)),
        ("a.png", MASK[..., None] * np.array([255, 0, 0], np.uint8)),
        ("a.png", palette(MASK, [0, 0, 0, 128, 0, 0])),
        ("a.png", palette(~MASK, [255, 255, 255, 0, 0, 0])),
        ("a.png", palette(MASK, [0, 0, 0, 0, 0, 0])),
        ("a.png", np.dstack([np.full((20, 30, 3), 255, np.uint8), MASK * np.uint8(255)])),
        ("a.png", np.dstack([np.zeros((20, 30, 3), np.uint8), MASK * np.uint8(255)])),
        ("a.png", np.dstack([np.repeat(MASK[..., None] * np.uint8(255), 3, 2), np.full((20, 30), 255, np.uint8)])),
        ("a.gif", MASK.astype(np.uint8) * 255),
        ("a.webp", np.kron(MASK, np.ones((8, 8))).astype(np.uint8) * 255),
    ],
)
def test_masks_in_all_color_modes(tmp_path, name, image):
    options = {"lossless": True} if name.endswith("webp") else {}
    got = reading.read_mask(save(tmp_path / name, image, **options))
    got = got[::8, ::8] if name.endswith("webp") else got
    assert got.dtype == bool
    np.testing.assert_array_equal(got, MASK)


def test_a_jpeg_mask_is_thresholded_at_half(tmp_path):
    mask = np.zeros((64, 64), bool)
    mask[13:40, 9:50] = True
    path = save(tmp_path / "a.jpg", mask.astype(np.uint8) * 255, quality=60)
    assert (np.asarray(Image.open(path))[~mask] > 0).any(), "the background must not be exactly black for this test"
    assert (reading.read_mask(path) != mask).mean() < 0.01


def test_shades_of_gray_cause_a_notice(tmp_path):
    with collected() as notices:
        reading.read_mask(save(tmp_path / "a.png", np.repeat(np.arange(3, dtype=np.uint8), 6)[None].repeat(9, 0)))
    assert [n.kind for n in notices] == ["gray mask"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_index_maps_keep_their_values(tmp_path, dtype):
    values = RNG.integers(0, 200 if dtype == np.uint8 else 60000, (9, 11)).astype(dtype)
    np.testing.assert_array_equal(reading.read_index(save(tmp_path / "a.tif", values)), values)


def test_index_maps_by_palette_and_equal_channels(tmp_path):
    indices = RNG.integers(0, 4, (9, 11), dtype=np.uint8)
    path = save(tmp_path / "p.png", palette(indices, list(range(12))))
    np.testing.assert_array_equal(reading.read_index(path), indices)
    path = save(tmp_path / "rgb.png", np.repeat(indices[..., None], 3, 2))
    np.testing.assert_array_equal(reading.read_index(path), indices)
    with pytest.raises(DataError, match="color"):
        reading.read_index(save(tmp_path / "c.png", RGB))
    with pytest.raises(DataError, match="stored losslessly"):
        reading.read_index(save(tmp_path / "c.jpg", GRAY))
    with pytest.raises(DataError, match="mode"):
        reading.read_index(save(tmp_path / "f.tif", GRAY.astype(np.float32)))


def test_writing_is_atomic(tmp_path):
    path = tmp_path / "new" / "a.json"
    reading.write_json(path, {"ä": 1})
    with pytest.raises(ValueError, match="nan"):
        reading.write_json(path, {"ä": float("nan")})
    with pytest.raises(TypeError):
        reading.write_json(path, object())
    with pytest.raises(UnicodeEncodeError), reading.replacing(path) as temporary:
        temporary.write_text("half" + "ä", encoding="ascii")
    assert json.loads(path.read_text("utf-8")) == {"ä": 1}
    assert [f.name for f in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("values", [GRAY, RGB, GRAY.astype(np.uint16) * 200, MASK])
def test_png_round_trip(tmp_path, values):
    reading.write_png(tmp_path / "a.png", values)
    got = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(got, values * np.uint8(255) if values.dtype == bool else values)


@pytest.mark.parametrize("values", [GRAY / 2, RGB.astype(np.uint16), GRAY[None], RGB[..., :2]])
def test_png_refuses_unsupported_values(tmp_path, values):
    with pytest.raises(InputError, match="PNG file needs"):
        reading.write_png(tmp_path / "a.png", values)


def test_nearest_resize_maps_centers():
    values = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(reading.resize_nearest(values, (4, 6)), np.kron(values, np.ones((2, 2))))
    np.testing.assert_array_equal(reading.resize_nearest(reading.resize_nearest(values, (10, 9)), (2, 3)), values)
    assert reading.resize_nearest(np.arange(5)[None], (1, 2)).tolist() == [[1, 3]]


def decoded(rle):
    from pycocotools import mask as coco

    return coco.decode(rle).astype(bool)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_masks_of_an_index_map_equal_a_comparison_per_value(dtype):
    index = RNG.integers(0, 6, (23, 17)).astype(dtype)
    got = {value: decoded(rle) for value, rle in from_index_map(index)}
    assert list(got) == [1, 2, 3, 4, 5]
    for value, mask in got.items():
        np.testing.assert_array_equal(mask, index == value)
    assert not list(from_index_map(np.zeros((4, 5), dtype)))
    assert [v for v, _ in from_index_map(np.full((4, 5), 3, dtype))] == [3]


def test_run_lengths_compressed_or_not():
    mask = RNG.random((31, 40)) > 0.7
    mask[5:25, 8:30] = True
    rle = encode(mask)
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat.astype(int))) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    counts = [0, *counts] if flat[0] else counts
    for given in (rle["counts"], rle["counts"].decode(), counts):
        got = validated({"size": [31, 40], "counts": given}, "x")
        np.testing.assert_array_equal(decoded(got), mask)


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [3, 3], "counts": [4, 4]},
        {"size": [3, 3], "counts": [-1, 10]},
        {"size": [3, 3], "counts": "zzzz"},
        {"size": [3, 3], "counts": "\x01"},
        {"size": [0, 3], "counts": []},
        {"size": [3], "counts": [9]},
        {"counts": [9]},
        {"size": [3, 3]},
        {"size": [3, 3], "counts": ["a"]},
    ],
)
def test_wrong_run_lengths_are_refused(rle):
    with pytest.raises(DataError, match="here"):
        validated(rle, "here")


def test_boxes_are_rounded_clipped_and_never_empty():
    mask = decoded(from_box((2.4, 1.6, 5.5, 3.2), (10, 12)))
    assert np.argwhere(mask).min(0).tolist() == [2, 2]
    assert mask.sum() == 1 * 4  # rows 2..2, columns 2..5
    assert decoded(from_box((3.1, 3.1, 3.3, 3.3), (10, 12))).sum() == 1
    assert decoded(from_box((-5, -5, 50, 50), (10, 12))).all()
    for nothing in [(5, 5, 5, 9), (5, 5, 3, 9), (12, 0, 20, 5), (-5, 0, 0, 5), (0, 0, float("nan"), 5)]:
        assert from_box(nothing, (10, 12)) is None


def test_polygons():
    square = [2, 3, 8, 3, 8, 7, 2, 7]
    mask = decoded(from_polygons([square], (10, 12)))
    expected = np.zeros((10, 12), bool)
    expected[3:7, 2:8] = True
    np.testing.assert_array_equal(mask, expected)
    assert from_polygons([[1, 1, 5, 5]], (10, 12)) is None, "two points are no box either"
    assert from_polygons([[1, 1, 5, 5, float("inf"), 3]], (10, 12)) is None
    assert decoded(from_polygons([[-1e12, -1e12, 1e12, -1e12, 1e12, 1e12, -1e12, 1e12]], (10, 12))).all()


@pytest.mark.parametrize(
    ("size", "other", "same"),
    [
        ((375, 667), (467, 830), True),
        ((100, 100), (101, 100), True),
        ((512, 512), (1024, 1024), True),
        ((480, 640), (470, 640), False),
        ((480, 640), (640, 480), False),
        ((64, 64), (480, 640), False),
    ],
)
def test_same_aspect(size, other, same):
    assert same_aspect(size, other) is same
    assert same_aspect(other, size) is same
