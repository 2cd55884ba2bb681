# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads, resizes and writes face images: RGB, as uint8 HWC arrays or PIL images."""
import contextlib
import io
import os
import sys
import warnings
from collections import Counter
from pathlib import Path, PurePath

import numpy as np
from PIL import (  # noqa: F401 (the plugins register their formats; Image.init would load all of Pillow's)
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageDraw,
    ImageFont,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PcxImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    QoiImagePlugin,
    SgiImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from utils.errors import UserError, first_line
from utils.file_list import find_files
from utils.files import open_regular, replacing
from utils.names import normalised, printable

# Pillow's formats that hold images, and what some of them need Pillow to be built with. Its other formats are icons,
# textures and documents, call an external program, or need a further plugin.
NEEDS = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
READ = [name for name in ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "PCX",
                          "PSD", "QOI", "SGI") if name not in NEEDS or features.check(NEEDS[name])]
FORMATS = {extension: name for extension, name in Image.EXTENSION.items() if name in (*READ, "MPO")}  # MPO: a JPEG
EXTENSIONS = set(FORMATS)
WRITTEN = {extension for extension, name in FORMATS.items() if name in Image.SAVE}
USUAL = ".jpg .png .webp .bmp .tif"  # what messages name of EXTENSIONS

MAX_PIXELS = 180_000_000  # 13,400 x 13,400: decoded, an image takes up to 1 GB; a larger one is a bad image
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses twice this number, before it decodes
# Editors and image generators store more than Pillow's 1 MB of text in one part of a PNG file. The limit for all parts
# together stays.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
PARTS_OF_ONE = ("MPO", "PSD")  # formats whose frames are one image's previews or layers
LARGE = 2 ** 24  # pixels from which on a JPEG image may be decoded at a part of its size
SPARE = 4  # such an image's shorter side stays this many times longer than what is needed of it

LONGEST_NAME = 255  # bytes of a file's name, on the usual disks
TITLE_HEIGHT = 18  # pixels, of the line of titles above a grid

ORIENTATION = 0x0112  # EXIF's orientation tag; UPRIGHT: the transpose that makes each orientation upright
UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_90}
TURNED = [UPRIGHT[orientation] for orientation in (5, 6, 7, 8)]  # these exchange width and height


class BadImage(UserError):
    """A file that cannot be used as a face image; has the attributes `path` and `reason`.

    path: of the file, or the open binary file itself.
    """

    def __init__(self, path, reason):
        if not isinstance(path, (str, os.PathLike)):
            path = "the image in memory"
        super().__init__(f"{printable(path)}: {reason}", status=1)
        self.path, self.reason = str(path), reason


class Skipped:
    """The images that a tool leaves out: each is named on stderr once."""

    def __init__(self):
        self.messages = {}

    def add(self, error):
        """error: the BadImage or WriteError of one image."""
        if str(error) not in self.messages:
            self.messages[str(error)] = None
            print(f"warning: skipped: {error}", file=sys.stderr)

    def exit_status(self):
        """Returns the tool's exit status: 0, or 1 if there are any. Prints their number."""
        if self.messages:
            print(f"error: {len(self.messages)} images were skipped, see the warnings above", file=sys.stderr)
        return int(bool(self.messages))


def list_images(folder, option, index_folder=None, leave_out=(), also=frozenset()):
    """Returns the FileList (utils/file_list.py) of all images below `folder`, recursively, in a fixed order.

    index_folder: where a long list is saved. leave_out: folders below `folder` that are not searched, for output.
    also: further extensions of files to list.
    Raises UserError, naming `option`, if the folder is missing, is a file, cannot be read, or holds no image.
    """
    shown = printable(folder)
    if not os.path.exists(folder):
        raise UserError(f"{option}: the folder {shown} does not exist.")
    if not os.path.isdir(folder):
        raise UserError(f"{option}: {shown} is a file; a folder of face images is needed.")
    found = find_files(folder, EXTENSIONS | also, option, index_folder, leave_out)
    if not found:
        raise UserError(f"{option}: no images ({USUAL} ...) below {shown}."
                        + "".join(f" {note}." for note in found.notes))
    return found


@contextlib.contextmanager
def _decoding(path):
    """Turns whatever Pillow raises inside the `with` block into BadImage.

    A corrupted file may raise almost anything in a decoder: TypeError, RuntimeError, NotImplementedError, MemoryError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # corrupt EXIF, palette transparency: handled below
            yield
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage(path, "cannot identify an image of a supported format in it") from None
    except Image.DecompressionBombError:
        raise BadImage(path, f"it has more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise BadImage(path, "it does not fit into memory") from None
    except OSError as error:
        raise BadImage(path, printable(error.strerror or first_line(error))) from None
    except Exception as error:
        raise BadImage(path, printable(first_line(error).rstrip("."))) from None


@contextlib.contextmanager
def opened(path):
    """Yields the PIL image at `path`, not decoded yet; what is raised in the block becomes BadImage.

    path: of a file, or an open binary file.
    """
    with (_decoding(path), contextlib.nullcontext(path) if hasattr(path, "read") else open_regular(path) as file,
          Image.open(file, formats=READ) as image):
        yield image


def read_size(path):
    """Returns (width, height) of the image at `path` on disk, before an EXIF rotation; BadImage if it is none.

    It is not decoded: a file that read_rgb refuses later may have a size.
    """
    with opened(path) as image:
        return image.size


def read_rgb(path, needed=None):
    """Returns the image at `path` as an upright 8-bit RGB PIL image, in every mode on disk.

    Applies EXIF rotation, scales 16-bit grey to 8 bits, composites transparency over white and converts CMYK, palette
    and grey. Of an animation or of several pages it is the first one; its `info` then holds "frames": True.
    needed: the shorter side in pixels that is of use. A JPEG image of more than LARGE pixels is then decoded at a half,
    a quarter or an eighth of its size, as far as its shorter side stays SPARE times as long. Other images, and by
    default all, are decoded at their size on disk.
    Raises BadImage if the file is missing, truncated, cannot be decoded, or is no regular file.
    """
    with opened(path) as image:
        size = image.size
        if needed and size[0] * size[1] > LARGE:
            # Other formats than JPEG ignore it.
            image.draft(None, [length * SPARE * needed // min(size) for length in size])
        several = getattr(image, "is_animated", False) and image.format not in PARTS_OF_ONE
        image.load()
        # Not ImageOps.exif_transpose: it rewrites all EXIF data and fails if another tag is corrupted.
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
        reduced = image.size != size
        if turn is not None:
            image = image.transpose(turn)
        image = image if image.mode == "RGB" and "transparency" not in image.info else _to_rgb(image)
        image.info = {"frames": True} if several else {}
        if reduced:
            image.info["full_size"] = size if turn not in TURNED else size[::-1]
        return image


def open_image(path):
    """Returns the decoded PIL image at `path` in its mode on disk. Raises BadImage like read_rgb."""
    with opened(path) as image:
        image.load()
        return image


def full_size(image):
    """Returns (width, height) of an image from read_rgb as it is on disk."""
    return image.info.get("full_size", image.size)


def _to_rgb(image):
    if image.mode == "F":  # float TIFF: [0, 1] or [0, 255]
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        values *= 255 if values.max(initial=0) <= 1 else 1
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image), 0, 65535)
        if image.mode != "I" or values.max(initial=0) > 255:  # 16-bit samples
            values = np.rint(np.arange(65536) / 257).astype(np.uint8)[values]
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def centre_square(size):
    """Returns (left, top, right, bottom) of the largest centred square; size: (width, height), in pixels."""
    width, height = size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def resize(image, side, box=None):
    """Resizes `box` (may be fractional; default: the whole image) to side x side: PIL BICUBIC, antialiased."""
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def to_trained_side(image, trained, size):
    """Returns a PIL image for a network that was trained on faces of `trained` pixels, enlarged to `size`.

    Returns the centred square, resized to `trained` pixels: a network wrecks faces with finer detail than it knows. An
    image of `trained` pixels, or of `size`, which is taken as enlarged already, is returned unchanged. trained: None
    for a network that was trained on several sizes; every image is then returned unchanged.
    """
    if trained is None or min(image.size) in (trained, size):
        return image
    return resize(image, trained, centre_square(image.size))


def degrade(image, scale):
    """Returns the benchmark's low-resolution input: PIL BICUBIC down by `scale`, then up again, both in uint8.

    Takes a square RGB PIL image and returns one of the same size, as in all x8 face benchmarks.
    """
    side = image.size[0]
    return resize(resize(image, side // scale), side)


def to_tensor_range(batch):
    """Converts a uint8 tensor [N, H, W, 3] in 0..255 to float32 [N, 3, H, W] in [-1, 1], channels last in memory."""
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def quantize(image, rounding):
    """Converts a float tensor CHW or NCHW in [-1, 1] to a uint8 array HWC or NHWC in [0, 255].

    Values outside the range are clipped first. `rounding` is "truncate" (down) or "round" (ties to even).
    A uint8 image converted to [-1, 1] and back is unchanged with both. Raises UserError for nan, which results from
    invalid weights or a half-precision overflow.
    """
    if rounding not in ("truncate", "round"):
        raise ValueError(f"rounding must be truncate or round, not {rounding!r}.")
    if image.ndim not in (3, 4):
        raise ValueError(f"expected a CHW or NCHW tensor, got shape {tuple(image.shape)}.")
    values = image.detach().cpu().double()
    if values.isnan().any():
        raise UserError("the network's output holds nan. Either its weights are invalid (the training diverged: set a "
                        "lower --lr or --max_grad_norm), or half precision overflowed (set --amp_dtype bfloat16 or "
                        "--opt_level O0).",
                        status=1)
    values = values.clamp(-1, 1).add_(1).div_(2).mul_(255)
    # float32 rounding may turn 200 into 199.99999, which plain truncation would make 199
    values = values.round_() if rounding == "round" else values.add_(1e-4).trunc_()
    return np.ascontiguousarray(values.byte().movedim(-3, -1).numpy())


def save_image(array, path):
    """Writes a uint8 HWC RGB array in the format of the name's extension, whole or not at all; makes the folder.

    Raises WriteError (utils/files.py).
    """
    with replacing(path, make_folder=True) as file:  # compress_level (PNG): twice as fast as the usual 6, 4 % larger
        encode(Image.fromarray(array), file, FORMATS[Path(path).suffix.lower()], compress_level=3)


def encode(image, file, kind, **options):
    """Writes a PIL image into an open file, in one of Pillow's formats."""
    if kind == "JPEG2000":  # its encoder does not end if the disk is full
        content = io.BytesIO()
        image.save(content, kind, **options)
        file.write(content.getbuffer())
    else:
        image.save(file, kind, **options)


def check_writable(path):
    """Raises UserError if the extension of a path that the user gave is none of WRITTEN."""
    if Path(path).suffix.lower() not in WRITTEN:
        raise UserError(f"cannot write {path}: use an image extension ({USUAL} ...).")


def save_shown(array, path):
    """save_image for a path that the user gave. Raises UserError like check_writable."""
    check_writable(path)
    save_image(array, path)


def output_names(paths, root, extension=".png"):
    """Returns a unique relative name for each of the files below `root`, in the same subfolders, with `extension`.

    It is the file's name with its own extension replaced: a.jpg becomes a.png. Files whose names would be the same
    keep their own extension: a.jpg and a.bmp become a.jpg.png and a.bmp.png. What is still the same becomes
    a.jpg_2.png, a.jpg_3.png. Names that differ only in case or in Unicode's form are the same: they would replace each
    other on other systems' disks. The name of a subfolder (a.png/) is no file's. A name that would be too long for a
    disk is cut.
    """
    relative = [os.path.relpath(path, root) for path in paths]
    names = [os.path.splitext(name)[0] for name in relative]
    folders = {_folded(str(folder)) for name in relative for folder in PurePath(name).parents}
    of_folders = {name.removesuffix(extension) for name in folders if name.endswith(extension)}
    while True:  # a longer name may in turn be another file's: a.jpg.png of a.jpg, and of a.jpg.png
        count = Counter([*map(_folded, names), *of_folders])
        longer = [full if count[_folded(name)] > 1 else name for name, full in zip(names, relative, strict=True)]
        if longer == names:
            break
        names = longer
    names = [fitting(name, extension) for name in names]
    count = Counter(map(_folded, names))
    taken = {name for name, number in count.items() if number == 1} | folders
    for place, name in enumerate(names):
        if count[_folded(name)] > 1 or _folded(name) in folders:
            number, free = 1, name
            while _folded(free) in taken:
                number += 1
                free = fitting(name.removesuffix(extension), f"_{number}{extension}")
            taken.add(_folded(free))
            names[place] = free
    return names


def fitting(name, ending):
    """Returns name + ending, of which the file's name is cut until it has at most LONGEST_NAME bytes."""
    folder, stem = os.path.split(name)
    while len(os.fsencode(stem + ending)) > LONGEST_NAME:
        stem = stem[:-1]
    return os.path.join(folder, stem + ending)


def _folded(name):
    return normalised(name).casefold()


def grid(rows, gap=2, titles=()):
    """Returns one uint8 HWC RGB image: rows of equally sized uint8 HWC images with `gap` white pixels between them.

    titles: the columns' titles, written in a line above them. They shrink to fit, down to 6 pixels.
    """
    height, width, _ = rows[0][0].shape
    columns = max(len(row) for row in rows)
    head = TITLE_HEIGHT if titles else 0
    canvas = np.full((head + len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = head + gap + y * (height + gap), gap + x * (width + gap)
            canvas[top:top + height, left:left + width] = picture
    if titles:
        canvas[:head] = _title_line(titles, canvas.shape[1], gap, width)
    return canvas


def _title_line(titles, line_width, gap, width):
    """Returns uint8 [TITLE_HEIGHT, line_width, 3], white: each title in black, centred above its column, cut to it."""
    line = np.full((TITLE_HEIGHT, line_width, 3), 255, np.uint8)
    fonts = [ImageFont.load_default(size) for size in range(TITLE_HEIGHT - 4, 5, -1)]
    for x, title in enumerate(titles):
        cell = Image.new("RGB", (width, TITLE_HEIGHT), "white")
        font = next((font for font in fonts if font.getlength(title) <= width), fonts[-1])
        ImageDraw.Draw(cell).text((width / 2, TITLE_HEIGHT / 2), title, "black", font, anchor="mm")
        left = gap + x * (width + gap)
        line[:, left:left + width] = np.asarray(cell)
    return line
