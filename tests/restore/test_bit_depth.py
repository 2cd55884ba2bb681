# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""16 bits per channel survive, with everything that describes the photo."""
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from restore.bit_depth import TRANSPOSED, eight_bits, enlarged, write_samples
from restore.paste_back import RestoredCrop, paste_back
from restore.photo_file import read_photo, write_photo
from utils.images import UPRIGHT, BadImage

tifffile = pytest.importorskip("tifffile")  # comes with scikit-image
SAMPLES = np.random.default_rng(0).integers(0, 65536, (72, 80, 4), dtype=np.uint16)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
KINDS = {"rgb": SAMPLES[..., :3], "rgba": SAMPLES, "grey": SAMPLES[..., :1], "grey and alpha": SAMPLES[..., :2]}


def described(orientation=6):
    found = Image.Exif()
    found[0x0112], found[0x010E] = orientation, "a description"
    found.get_ifd(0x8769)[0x829A] = 0.25  # exposure time
    return found


def stored(path):
    """Returns the samples of a file, RGB."""
    found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if found.ndim == 2:
        return found[..., None]
    found[..., :3] = found[..., 2::-1].copy()
    return found[..., [0, 3]] if path.read_bytes()[25] == 4 else found  # PNG's colour type


def through(path, tmp_path, pixels=None):
    """Returns (photo, path of what it becomes)."""
    photo = read_photo(path)
    target = tmp_path / "out" / path.name
    write_photo(photo, photo.pixels if pixels is None else pixels, target)
    return photo, target


@pytest.mark.parametrize("name, kind", [
    ("a.png", "rgb"), ("a.png", "rgba"), ("a.png", "grey"), ("a.png", "grey and alpha"),
    ("a.tif", "rgb"), ("a.tif", "rgba"), ("a.tif", "grey"),
    ("a.jp2", "rgb"), ("a.jp2", "grey"), ("a.ppm", "rgb"), ("a.pgm", "grey")])
def test_every_sample_survives(tmp_path, name, kind):
    form = {"png": "PNG", "tif": "TIFF", "jp2": "JPEG2000"}.get(name[2:], "PPM")
    with (tmp_path / name).open("wb") as file:
        write_samples(file, KINDS[kind], form, {})
    photo, target = through(tmp_path / name, tmp_path)
    assert photo.pixels.dtype == np.uint16 and (photo.alpha is None) == (kind in ("rgb", "grey"))
    assert np.array_equal(stored(target), KINDS[kind]) and np.array_equal(stored(tmp_path / name), KINDS[kind])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_what_describes_the_photo_survives(tmp_path, form):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a face")
    text.add(b"gAMA", struct.pack(">I", 45455))
    with (tmp_path / "a").open("wb") as file:
        write_samples(file, SAMPLES[..., :3], form, {
            "exif": described().tobytes(), "icc_profile": PROFILE, "dpi": (300, 300),
            **({"pnginfo": text} if form == "PNG" else {"compression": "tiff_lzw"})})
    photo, target = through(tmp_path / "a", tmp_path)
    upright = np.rot90(SAMPLES[..., :3], -1)
    assert np.array_equal(photo.pixels, upright) and np.array_equal(stored(target), upright)
    for path, orientation in ((tmp_path / "a", 6), (target, 1)):
        written = Image.open(path)
        found = written.getexif()
        assert (found.get(0x0112, 1), found[0x010E]) == (orientation, "a description")
        assert float(found.get_ifd(0x8769)[0x829A]) == 0.25
        assert written.info["icc_profile"] == PROFILE
        assert [round(float(value)) for value in written.info["dpi"]] == [300, 300]
        if form == "PNG":
            assert written.text["Title"] == "a face" and written.info["gamma"] == pytest.approx(0.45455)
        else:
            assert written.info["compression"] == "tiff_lzw"
        written.load()  # as Pillow reads it, too


@pytest.mark.parametrize("options", [
    {}, {"tile": (32, 16)}, {"compression": "zlib", "predictor": True}, {"byteorder": ">"}, {"rowsperstrip": 5}])
def test_tiff_files_of_others_are_read(tmp_path, options):
    data = SAMPLES[..., :3]
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", **options)
    photo, target = through(tmp_path / "a.tif", tmp_path)
    assert np.array_equal(photo.pixels, data) and np.array_equal(tifffile.imread(target), data)


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_files_keep_their_compression(tmp_path, compression):
    with (tmp_path / "a.tif").open("wb") as file:
        write_samples(file, SAMPLES[..., :3], "TIFF", {"compression": compression})
    _, target = through(tmp_path / "a.tif", tmp_path)
    assert Image.open(target).info["compression"] == compression


@pytest.mark.parametrize("orientation", [*UPRIGHT])
def test_orientations_are_those_of_8_bits(orientation):
    turn = UPRIGHT[orientation]
    eight = SAMPLES[..., :3].astype(np.uint8)
    assert np.array_equal(TRANSPOSED[turn](eight), np.asarray(Image.fromarray(eight).transpose(turn)))


@pytest.mark.parametrize("mode", ["delta", "crop"])
def test_a_face_changes_only_its_pixels_and_as_in_8_bits(mode):
    photo = np.random.default_rng(1).integers(30 * 257, 220 * 257, (90, 80, 3), dtype=np.uint16)
    matrix = np.array([(0.8, 0.1, -8), (-0.1, 0.8, -4)])
    aligned = np.random.default_rng(2).integers(60, 190, (32, 32, 3), dtype=np.uint8)
    same = paste_back(photo, [RestoredCrop(matrix, aligned, aligned)])
    assert same.dtype == np.uint16 and np.array_equal(same, photo)
    crop = RestoredCrop(matrix, aligned, aligned + np.uint8(20))
    deep, shallow = paste_back(photo, [crop], 1, mode), paste_back(eight_bits(photo), [crop], 1, mode)
    assert np.abs(eight_bits(deep).astype(int) - shallow).max() <= 1
    changed = (deep != photo).any(-1)
    assert 300 < changed.sum() < 3000 and not changed[60:].any() and not changed[:, 70:].any()
    if mode == "delta":
        assert (deep.astype(int) - photo).max() == 20 * 257


def test_what_is_too_bright_for_16_bits_is_white():
    photo = np.full((40, 40, 3), 65535 - 100, np.uint16)
    crop = RestoredCrop(np.array([(1., 0, -4), (0, 1, -4)]), np.zeros((32, 32, 3), np.uint8),
                        np.full((32, 32, 3), 99, np.uint8))
    assert paste_back(photo, [crop]).max() == 65535 and paste_back(photo, [crop]).min() == 65535 - 100


def test_enlarging_is_that_of_8_bits_and_by_parts_the_same():
    photo = np.kron(SAMPLES[:12, :10, :3] // 3 + 20000, np.ones((4, 4, 1), np.uint16))
    for pixels in (photo, eight_bits(photo)):
        whole = enlarged(pixels, (80, 96))
        part = enlarged(pixels, (30, 20), (10, 5, 25, 15)).astype(int)
        assert np.abs(part - whole[10:30, 20:50]).max() <= 1  # Pillow rounds between its two passes
    wide = enlarged(photo, (80, 96))
    assert np.abs(wide / 257 - enlarged(eight_bits(photo), (80, 96))).max() < 2.5
    assert np.array_equal(enlarged(photo[..., 1], (80, 96)), wide[..., 1])


def png_with_transparent_black():
    content = io.BytesIO()
    write_samples(content, SAMPLES[..., :3], "PNG", {})
    key = b"tRNS" + bytes(6)
    key = struct.pack(">I", 6) + key + struct.pack(">I", zlib.crc32(key))
    return content.getvalue().replace(b"\0\0\x20\0IDAT", key + b"\0\0\x20\0IDAT", 1)


def test_what_16_bit_files_cannot_keep_is_refused(tmp_path):
    files = ("half.png", "10.avif", "float.tif", "signed.tif", "white.tif", "planes.tif", "12.jp2", "key.png",
             "odd.ppm", "float.pfm")
    Image.fromarray(eight_bits(SAMPLES[..., :3])).save(tmp_path / "10.avif")
    avif = bytearray((tmp_path / "10.avif").read_bytes().replace(b"\3\x08\x08\x08", b"\3\x0a\x0a\x0a"))
    avif[avif.index(b"av1C") + 6] |= 0x40  # its header says so, in both places
    (tmp_path / "10.avif").write_bytes(avif)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(SAMPLES[..., :3], 2, 0).copy(), photometric="rgb",
                     planarconfig="separate")
    with (tmp_path / "half.png").open("wb") as file:
        write_samples(file, SAMPLES, "PNG", {})
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:9000])
    tifffile.imwrite(tmp_path / "float.tif", SAMPLES[..., 0].astype(np.float32), photometric="minisblack")
    tifffile.imwrite(tmp_path / "signed.tif", SAMPLES[..., 0].astype(np.int16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "white.tif", SAMPLES[..., 0], photometric="miniswhite")
    content = io.BytesIO()
    write_samples(content, SAMPLES[..., :1], "JPEG2000", {})
    start = content.getvalue().index(b"\xff\x4f\xff\x51") + 42
    (tmp_path / "12.jp2").write_bytes(content.getvalue()[:start] + b"\x0b" + content.getvalue()[start + 1:])
    (tmp_path / "key.png").write_bytes(png_with_transparent_black())
    (tmp_path / "odd.ppm").write_bytes(b"P6 4 4 1023\n" + bytes(96))
    (tmp_path / "float.pfm").write_bytes(b"Pf 4 4 -1.0\n" + bytes(64))
    for name in files:
        with pytest.raises(BadImage) as error:
            read_photo(tmp_path / name)
        assert ("8 or 16 bits" in str(error.value) or "not kept in this form" in str(error.value)) == (
            name != "half.png")
        assert "\n" not in str(error.value) and str(error.value).count(name) == 1
