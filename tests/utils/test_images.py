# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/images.py: reading of all formats and modes as RGB, listing, degrading, grids and saving."""
import os
import resource
import struct

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from utils import images
from utils.errors import UserError
from utils.files import WriteError
from utils.images import (
    FORMATS,
    TITLE_HEIGHT,
    BadImage,
    centre_square,
    degrade,
    full_size,
    grid,
    list_images,
    open_image,
    output_names,
    read_rgb,
    save_image,
    to_tensor_range,
)

RNG = np.random.default_rng(0)
PICTURE = np.asarray(Image.fromarray(RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((50, 40), 3))


@pytest.mark.parametrize("name, options, tolerance", [
    ("a.png", {}, 0), ("a.PNG", {}, 0), ("a.bmp", {}, 0), ("a.tif", {}, 0), ("a.webp", {"lossless": True}, 0),
    ("a.jpg", {"quality": 100, "subsampling": 0}, 3), ("a.JPEG", {"quality": 100, "subsampling": 0}, 3),
])
def test_formats(tmp_path, name, options, tolerance):
    Image.fromarray(PICTURE).save(tmp_path / name, **options)
    read = read_rgb(tmp_path / name)
    assert read.mode == "RGB"
    assert np.abs(np.asarray(read).astype(int) - PICTURE).max() <= tolerance


@pytest.mark.parametrize("orientation, turned", [
    (1, PICTURE), (2, PICTURE[:, ::-1]), (3, PICTURE[::-1, ::-1]), (4, PICTURE[::-1]),
    (5, PICTURE.transpose(1, 0, 2)), (6, np.rot90(PICTURE, -1)), (7, np.rot90(PICTURE, 2).transpose(1, 0, 2)),
    (8, np.rot90(PICTURE, 1)), (9, PICTURE), (0, PICTURE),
])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_exif_rotation_is_applied(tmp_path, name, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # A camera stores the image as it saw it; the tag says how to rotate it upright.
    Image.fromarray(PICTURE).save(tmp_path / name, exif=exif, **({"quality": 100, "subsampling": 0}
                                                                 if name.endswith("jpg") else {}))
    read = np.asarray(read_rgb(tmp_path / name)).astype(int)
    assert read.shape == turned.shape and np.abs(read - turned).max() <= 3


def test_damaged_exif_data_beside_the_orientation_do_no_harm(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 3, 72.0
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    # Changes the type of XResolution from rational number (5) to text (2).
    place = content.index(b"\x01\x1a\x00\x05")
    (tmp_path / "b.jpg").write_bytes(content[:place + 2] + b"\x00\x02" + content[place + 4:])
    assert np.array_equal(read_rgb(tmp_path / "b.jpg"), read_rgb(tmp_path / "a.jpg"))


def test_modes(tmp_path):
    grey = PICTURE[..., 0]
    as_rgb = np.repeat(grey[..., None], 3, 2)

    def check(image, expected, name="a.png", tolerance=0):
        image.save(tmp_path / name)
        read = read_rgb(tmp_path / name)
        assert read.mode == "RGB" and np.abs(np.asarray(read).astype(int) - expected).max() <= tolerance

    check(Image.fromarray(grey), as_rgb)
    check(Image.fromarray(grey.astype(np.uint16) * 257), as_rgb)  # 16-bit grey
    check(Image.fromarray(grey.astype(np.uint16) * 257), as_rgb, "a.tif")
    check(Image.fromarray(grey.astype(np.float32) / 255), as_rgb, "a.tif")
    check(Image.fromarray(grey > 127), np.where(as_rgb > 127, 255, 0))  # 1 bit
    palette = Image.fromarray(PICTURE).quantize(256)
    check(palette, np.asarray(palette.convert("RGB")))
    check(Image.fromarray(PICTURE).convert("CMYK"), PICTURE, "a.tif", 3)
    check(Image.fromarray(PICTURE).convert("CMYK"), PICTURE, "a.jpg", 60)
    opaque = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    check(Image.fromarray(opaque), PICTURE)
    clear = opaque.copy()
    clear[:20, :, 3] = 0
    expected = PICTURE.copy()
    expected[:20] = 255  # transparent pixels become white, whatever their hidden colour
    check(Image.fromarray(clear), expected)
    check(Image.fromarray(np.dstack([grey, opaque[..., 3]])), as_rgb)  # grey with alpha


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"no picture" * 9,
                                    lambda b: b[:20] + bytes(len(b) - 20)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"])
def test_damaged_files_are_named(tmp_path, name, damage):
    path = tmp_path / name
    Image.fromarray(RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(path)
    path.write_bytes(damage(path.read_bytes()))
    if name == "a.bmp" and path.stat().st_size > 200 and path.read_bytes()[:2] == b"BM":
        return  # a bitmap of zeros with an intact header may be valid
    with pytest.raises(BadImage, match=f"^{path}: "):
        read_rgb(path)


def test_missing_file_is_a_bad_image(tmp_path):
    with pytest.raises(BadImage, match="No such file"):
        read_rgb(tmp_path / "gone.png")


def test_centre_square_of_celeba():
    assert centre_square((178, 218)) == (0, 20, 178, 198)
    assert centre_square((178, 178)) == (0, 0, 178, 178)
    assert centre_square((101, 50)) == (25, 0, 75, 50)


def test_list_images_is_sorted_nested_and_case_blind(tmp_path):
    for name in ("b/2.JPG", "b/c/1.webp", "a.png", "notes.txt", "b/x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    assert list(list_images(str(tmp_path), "--x")) == [str(tmp_path / n) for n in ("a.png", "b/2.JPG", "b/c/1.webp")]


def test_list_images_errors(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, message in [("gone", "does not exist"), ("file", "is a file"), ("empty", "no images")]:
        with pytest.raises(UserError, match=f"--dataroot: .*{message}"):
            list_images(str(tmp_path / name), "--dataroot")


def test_degrade_is_pil_bicubic_both_ways_in_uint8():
    face = Image.fromarray(RNG.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    small = face.resize((16, 16), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(degrade(face, 8)), np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC)))


def test_save_and_grid(tmp_path):
    tiles = [[np.full((3, 4, 3), 10 * (2 * y + x), np.uint8) for x in range(2)] for y in range(2)]
    picture = grid(tiles, gap=1)
    assert picture.shape == (9, 11, 3)
    assert picture[0, 0, 0] == 255 and picture[1, 1, 0] == 0 and picture[5, 6, 0] == 30
    save_image(picture, tmp_path / "deep" / "grid.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "grid.png")), picture)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["grid.png"]


def test_columns_have_their_titles_above_them():
    tiles = [[np.full((8, 40, 3), 100, np.uint8)] * 2]
    picture = grid(tiles, gap=2, titles=["SR", "a title that is far too long for its column"])
    head, rest = picture[:TITLE_HEIGHT], picture[TITLE_HEIGHT:]
    assert np.array_equal(rest, grid(tiles, gap=2))
    assert (head[:, :44] < 128).any() and (head[:, 44:] < 128).any() and head[0].min() == 255
    assert (head[:, 2:9] == 255).all() and (head[:, 36:44] == 255).all()  # SR is centred in its column


def test_output_names_never_collide():
    assert output_names(["/r/a.jpg", "/r/a.png", "/r/b/a.jpg"], "/r") == ["a.jpg.png", "a.png.png", "b/a.png"]


def test_tensor_range():
    batch = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 1, 1, 3)
    tensor = to_tensor_range(batch)
    assert tensor.shape == (1, 3, 1, 1) and tensor.dtype == torch.float32
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_names_that_clash_with_longer_ones_or_on_other_systems_differ():
    names = ["a.jpg", "a.png", "a.jpg.png", "B.png", "b.png", "e\u0301.png", "\u00e9.png"]
    found = output_names([f"/r/{name}" for name in names], "/r")
    assert found == ["a.jpg.png", "a.png.png", "a.jpg.png.png", "B.png.png", "b.png_2.png",
                     "e\u0301.png.png", "\u00e9.png_2.png"]
    assert output_names(["/r/a.jpg", "/r/a.png/b.jpg"], "/r") == ["a.jpg.png", "a.png/b.png"]
    assert output_names(["/r/a.jpg", "/r/A.png/b.jpg", "/r/a.jpg.png/c.jpg"], "/r") == [
        "a.jpg_2.png", "A.png/b.png", "a.jpg.png/c.png"]
    assert output_names(["/r/a.jpg", "/r/x/a.png"], "/r", ".npz") == ["a.npz", "x/a.npz"]


def test_output_names_fit_a_disk():
    long = "\u00e9" * 125 + "x"  # 251 bytes: with .jpg as long as a name can be
    found = output_names([f"/r/b/{long}.jpg", f"/r/b/{long}.bmp", f"/r/b/{long}.jpg.png/a.jpg"], "/r")
    assert [name.split("/")[1] for name in found] == [f"{long}.png", "\u00e9" * 124 + "_2.png",
                                                      f"{long}.jpg.png"]
    assert output_names([f"/r/{'a' * 251}.jpg"], "/r") == ["a" * 251 + ".png"]


@pytest.mark.parametrize("extension", ["jfif", "gif", "ppm", "pgm", "tga", "jp2", "avif", "jpe", "pcx", "qoi", "sgi"])
def test_what_pillow_reads_well_is_an_image(tmp_path, extension):
    face = Image.fromarray(PICTURE)
    face.save(tmp_path / f"a.{extension}", FORMATS[f".{extension}"])
    assert len(list_images(str(tmp_path), "--x")) == 1
    read = np.asarray(read_rgb(tmp_path / f"a.{extension}")).astype(int)
    assert read.shape == PICTURE.shape and (extension == "pgm" or np.abs(read - PICTURE).mean() < 8)


@pytest.mark.parametrize("extension", ["eps", "pdf", "h5", "ico"])
def test_documents_and_icons_are_none(extension):
    assert f".{extension}" not in FORMATS


def test_documents_under_an_images_name_reach_no_external_program(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png", "EPS")
    with pytest.raises(BadImage, match="a.png: cannot identify an image of a supported format"):
        read_rgb(tmp_path / "a.png")


def test_the_first_frame_of_an_animation_is_used_and_marked(tmp_path):
    frames = [Image.fromarray(np.full((9, 9, 3), value, np.uint8)) for value in (50, 100)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        read = read_rgb(tmp_path / name)
        assert read.info == {"frames": True} and abs(np.asarray(read).mean() - 50) < 2
    frames[0].save(tmp_path / "b.gif")
    assert read_rgb(tmp_path / "b.gif").info == {}


def test_long_compressed_text_in_a_png_does_no_harm(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a" * 5_000_000, zip=True)
    Image.fromarray(PICTURE).save(tmp_path / "a.png", pnginfo=text)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), PICTURE)


@pytest.mark.parametrize("error", [TypeError, RuntimeError, NotImplementedError, SyntaxError, struct.error, MemoryError,
                                   Image.DecompressionBombError, KeyError, RecursionError])
def test_whatever_a_decoder_raises_is_a_bad_image(tmp_path, monkeypatch, error):
    def fail(self):
        raise error("some\nthing")
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    for read in (read_rgb, open_image):
        with pytest.raises(BadImage) as found:
            read(tmp_path / "a.png")
        assert found.value.path == str(tmp_path / "a.png") and "\n" not in str(found.value)


def test_pipes_and_devices_are_bad_images(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.png", "/dev/zero"):
        with pytest.raises(BadImage, match="a pipe or a device"):
            read_rgb(path)
    with pytest.raises(BadImage, match="directory"):
        read_rgb(tmp_path)


def test_an_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 60_000, 60_000)
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(BadImage, match="it has more than 180,000,000 pixels$"):
        read_rgb(tmp_path / "a.bmp")


def test_a_huge_jpeg_is_decoded_at_a_part_of_its_size_and_others_never(tmp_path, monkeypatch):
    face = Image.fromarray(PICTURE).resize((800, 600), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    face.save(tmp_path / "a.jpg", quality=95, exif=exif)
    whole = read_rgb(tmp_path / "a.jpg", 16)
    assert whole.size == (600, 800) == full_size(whole)
    assert np.array_equal(whole, read_rgb(tmp_path / "a.jpg"))
    monkeypatch.setattr(images, "LARGE", 800 * 600 - 1)
    reduced = read_rgb(tmp_path / "a.jpg", 16)
    assert reduced.size == (75, 100) and full_size(reduced) == (600, 800)
    assert read_rgb(tmp_path / "a.jpg", 75).size == (300, 400) and read_rgb(tmp_path / "a.jpg").size == (600, 800)
    small = [np.asarray(image.resize((15, 20), Image.Resampling.BICUBIC)).astype(int) for image in (whole, reduced)]
    assert np.abs(small[0] - small[1]).mean() < 2


def test_other_files_are_counted_where_there_is_no_image(tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(UserError, match=r"no images .* 1 other file ignored \(.heic 1\)"):
        list_images(str(tmp_path), "--dataroot")


@pytest.mark.parametrize("extension", [".bmp", ".jpg", ".jp2", ".png", ".ppm", ".tga", ".tif", ".webp"])
def test_a_full_disk_is_never_overlooked(tmp_path, extension):
    """Pillow writes some formats to the file's descriptor, and takes a write that was cut short for a whole one."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(WriteError, match="Free some space"):
            save_image(noise, tmp_path / f"a{extension}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
