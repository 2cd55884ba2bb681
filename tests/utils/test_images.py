"""utils/images.py: reading of all formats and modes as RGB, listing, degrading, grids and saving."""
import numpy as np
import pytest
import torch
from PIL import Image

from utils.errors import UserError
from utils.images import (
    TITLE_HEIGHT,
    BadImage,
    centre_square,
    degrade,
    grid,
    list_images,
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
