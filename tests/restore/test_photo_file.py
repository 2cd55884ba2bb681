# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Photos keep what is not their picture."""
import numpy as np
import pytest
from PIL import Image, ImageCms, IptcImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from restore.photo_file import read_photo, write_photo
from utils.images import BadImage

PIXELS = np.kron(np.random.default_rng(0).integers(40, 216, (5, 8, 4), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation=6):
    found = Image.Exif()
    found[0x0112], found[0x010E] = orientation, "a description"
    return found


def through(path, tmp_path):
    """Returns (photo, the file that it becomes when nothing was restored)."""
    photo = read_photo(path)
    target = tmp_path / "out" / f"{path.name}{photo.suffix}"
    write_photo(photo, photo.pixels, target)
    return photo, Image.open(target)


@pytest.mark.parametrize("name, options", [
    ("a.png", {}), ("a.tif", {"compression": "tiff_lzw"}), ("a.webp", {"lossless": True}), ("a.jpg", {"quality": 70}),
    ("a.JPEG", {"quality": 96, "subsampling": 0})])
def test_orientation_profile_and_resolution_survive(tmp_path, name, options):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / name, exif=exif(), icc_profile=PROFILE, dpi=(300, 300), **options)
    photo, written = through(tmp_path / name, tmp_path)
    assert photo.pixels.shape == (64, 40, 3) and not photo.notes  # upright
    assert written.format == Image.open(tmp_path / name).format and written.size == (40, 64)
    assert written.info["icc_profile"] == PROFILE
    assert (written.getexif().get(0x0112, 1), written.getexif()[0x010E]) == (1, "a description")
    if "webp" not in name:
        assert [round(float(value)) for value in written.info["dpi"]] == [300, 300]
    if name in ("a.png", "a.tif"):
        assert np.array_equal(np.asarray(written), photo.pixels)
        assert np.array_equal(photo.pixels, np.rot90(PIXELS[..., :3], -1))


@pytest.mark.parametrize("quality, subsampling", [(60, 2), (92, 1), (98, 0)])
def test_a_jpeg_file_keeps_its_quality(tmp_path, quality, subsampling):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
    _, written = through(tmp_path / "a.jpg", tmp_path)
    before = Image.open(tmp_path / "a.jpg")
    assert written.quantization == before.quantization and written.layer == before.layer


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "1"])
def test_alpha_and_grey_survive(tmp_path, mode):
    image = Image.fromarray(PIXELS if "A" in mode else PIXELS[..., :3]).convert(mode)
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a face")
    image.save(tmp_path / "a.png", pnginfo=text)
    photo, written = through(tmp_path / "a.png", tmp_path)
    assert written.mode == {"P": "RGB", "1": "L"}.get(mode, mode) and written.text["Title"] == "a face"
    assert np.array_equal(np.asarray(written.convert("RGBA")), np.asarray(image.convert("RGBA")))
    assert (photo.alpha is None) == (mode not in ("RGBA", "LA"))


def test_alpha_is_enlarged_with_the_photo(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    write_photo(photo, np.zeros((80, 128, 3), np.uint8), tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").size == (128, 80) and Image.open(tmp_path / "b.png").mode == "RGBA"


def test_the_content_decides_not_the_name(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.png", "JPEG", quality=80)
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "b.jpg", "PNG")
    assert [through(tmp_path / name, tmp_path)[1].format for name in ("a.png", "b.jpg")] == ["JPEG", "PNG"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]


@pytest.mark.parametrize("name, mode, options", [
    ("a.webp", "RGBA", {"lossless": True, "exact": True}), ("a.webp", "RGB", {"quality": 30}),
    ("a.tif", "1", {"compression": "group4"}), ("a.tif", "RGB", {"compression": "jpeg"}), ("a.jp2", "RGB", {}),
    ("a.bmp", "RGB", {}), ("a.ppm", "RGB", {}), ("a.tga", "RGBA", {})])
def test_no_pixel_changes_where_a_file_can_be_written_without_loss(tmp_path, name, mode, options):
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / name, **options)
    _, written = through(tmp_path / name, tmp_path)
    before = Image.open(tmp_path / name)
    assert written.format == before.format
    assert np.array_equal(np.asarray(written.convert("RGBA")), np.asarray(before.convert("RGBA")))


def test_a_progressive_jpeg_stays_one(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.jpg", progressive=True)
    assert "progressive" in through(tmp_path / "a.jpg", tmp_path)[1].info


def test_what_a_format_cannot_hold_is_one_line(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.jpg")
    photo = read_photo(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match="it cannot be written as JPEG: "):
        write_photo(photo._replace(options={"exif": b"x" * 70_000}), photo.pixels, tmp_path / "b.jpg")
    assert not (tmp_path / "b.jpg").exists()


def test_a_format_that_is_not_written_becomes_png(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.gif")
    photo, written = through(tmp_path / "a.gif", tmp_path)
    assert written.format == "PNG" and written.filename.endswith("a.gif.png")


def test_cmyk_becomes_rgb_and_says_so(tmp_path):
    Image.fromarray(PIXELS[..., :3]).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=PROFILE)
    photo, written = through(tmp_path / "a.jpg", tmp_path)
    assert written.mode == "RGB" and "icc_profile" not in written.info and "CMYK" in photo.notes[0]


def test_what_could_only_be_kept_in_part_is_refused(tmp_path):
    frames = [Image.fromarray(PIXELS[..., :3]), Image.fromarray(255 - PIXELS[..., :3])]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "whole.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    for name, reason in (("moving.gif", "several pages or frames"), ("bad.png", "bad.png"),
                         ("none.png", "No such file")):
        with pytest.raises(BadImage, match=reason) as error:
            read_photo(tmp_path / name)
        assert str(error.value).count(name) == 1


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_xmp_of_a_tiff_file_survives(tmp_path, compression):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700], tags.tagtype[700] = b'<a tiff:Orientation="6"/>', 1
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.tif", tiffinfo=tags, compression=compression)
    assert through(tmp_path / "a.tif", tmp_path)[1].info["xmp"] == b'<a tiff:Orientation="1"/>'


def test_comments_and_the_meaning_of_colours_survive(tmp_path):
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.jpg", comment=b"a comment", xmp=b"<xmp/>")
    written = through(tmp_path / "a.jpg", tmp_path)[1]
    assert (written.info["comment"], written.info["xmp"]) == (b"a comment", b"<xmp/>")
    colours = PngImagePlugin.PngInfo()
    colours.add(b"gAMA", (45455).to_bytes(4, "big"))
    colours.add(b"cHRM", b"".join(value.to_bytes(4, "big") for value in range(10_000, 10_008)))
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.png", pnginfo=colours)
    written = through(tmp_path / "a.png", tmp_path)[1]
    assert written.info["gamma"] == 0.45455 and written.info["chromaticity"][0] == 0.1


def test_captions_and_keywords_of_iptc_survive(tmp_path):
    record = b"\x1c\x02\x78\x00\x09a caption" + b"\x1c\x02\x19\x00\x05faces"  # 2:120 and 2:25
    thumbnail = b"8BIM\x04\x0c\x00\x00" + (6).to_bytes(4, "big") + b"before"
    resource = b"Photoshop 3.0\x00" + thumbnail + b"8BIM\x04\x04\x00\x00" + len(record).to_bytes(4, "big") + record
    resource += bytes(len(record) % 2)
    segment = b"\xff\xed" + (len(resource) + 2).to_bytes(2, "big") + resource
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.jpg", extra=segment, icc_profile=PROFILE, exif=exif())
    written = through(tmp_path / "a.jpg", tmp_path)[1]
    assert IptcImagePlugin.getiptcinfo(written) == {(2, 120): b"a caption", (2, 25): b"faces"}
    assert written.info["photoshop"] == {0x0404: record}  # no small copy of the picture as it was
    assert written.info["icc_profile"] == PROFILE and written.getexif()[0x010E] == "a description"


def test_pages_are_not_counted(tmp_path, monkeypatch):
    """To count those of a TIFF file of 6 MB takes Pillow more than a minute."""
    page = Image.fromarray(PIXELS[..., :3])
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    page.save(tmp_path / "one.tif")
    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(lambda image: 1 / 0))
    with pytest.raises(BadImage, match="several pages"):
        read_photo(tmp_path / "two.tif")
    assert np.array_equal(read_photo(tmp_path / "one.tif").pixels, PIXELS[..., :3])


@pytest.mark.parametrize("sampling, written_as", [(0, 0), (1, 0), (2, 2)])
def test_turned_jpeg_photos_keep_their_tables(tmp_path, sampling, written_as):
    """Compressed again with the tables of rows for columns, the whole photo would change."""
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "a.jpg", quality=60, subsampling=sampling, exif=exif())
    written = through(tmp_path / "a.jpg", tmp_path)[1]
    for number, table in Image.open(tmp_path / "a.jpg").quantization.items():
        assert np.array_equal(np.reshape(written.quantization[number], (8, 8)).T.ravel(), table)
    assert JpegImagePlugin.get_sampling(written) == written_as


def test_what_the_format_cannot_hold_is_no_fault_of_the_disk(tmp_path):
    Image.new("RGB", (17_000, 2)).save(tmp_path / "a.jpg")
    photo = read_photo(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match="cannot be written as JPEG"):
        write_photo(photo, np.zeros((8, 68_000, 3), np.uint8), tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("form", ['<a tiff:Orientation="{}"/>', "<tiff:Orientation>{}</tiff:Orientation>"])
def test_the_orientation_in_xmp_becomes_upright_too(tmp_path, name, form):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", form.format(6))
    options = {"pnginfo": text} if name == "a.png" else {"xmp": form.format(6).encode()}
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / name, exif=exif(), **options)
    _, written = through(tmp_path / name, tmp_path)
    assert written.size == (40, 64) and written.getexif()[0x0112] == 1
    found = written.info["xmp"]
    assert (found if isinstance(found, bytes) else found.encode()) == form.format(1).encode()


def test_a_profile_of_other_colours_is_left_out(tmp_path):
    Image.fromarray(PIXELS[..., :3]).convert("LAB").save(tmp_path / "a.tif")  # Pillow adds LAB's profile
    photo, written = through(tmp_path / "a.tif", tmp_path)
    assert written.mode == "RGB" and "icc_profile" not in written.info and "profile of its LAB" in photo.notes[0]


def test_cmyk_photos_keep_their_colours(tmp_path):
    """Their colour channels are as fine as the others."""
    Image.fromarray(PIXELS[..., :3]).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert JpegImagePlugin.get_sampling(through(tmp_path / "a.jpg", tmp_path)[1]) == 0
