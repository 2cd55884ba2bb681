"""Reading, resizing and writing face pictures. Everything here is RGB, uint8, HWC or a PIL image."""
import contextlib
import os
import struct
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.errors import UserError
from utils.file_list import list_files
from utils.files import replacing

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
           ".webp": "WEBP"}  # Pillow's names
EXTENSIONS = set(FORMATS)

# What Pillow's decoders raise for a damaged file; anything else is a fault of ours and must show.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)

TITLE_HEIGHT = 18  # pixels, of the line of titles above a grid

ORIENTATION = 0x0112  # EXIF's tag; what makes a picture of each of its values upright
UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_90}


class BadImage(Exception):
    """A file that cannot be used as a face: its `path` and the `reason`."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def list_images(folder, option, index_folder=None):
    """FileList (utils/file_list.py) of all pictures below `folder`, nested folders included, always in the same order.

    index_folder: where to keep a long list. UserError, naming `option`, when the folder is missing, is a file, cannot
    be read, or holds no picture.
    """
    if not os.path.exists(folder):
        raise UserError(f"{option}: the folder {folder} does not exist.")
    if not os.path.isdir(folder):
        raise UserError(f"{option}: {folder} is a file; a folder of face pictures is needed.")
    try:
        found = list_files(folder, EXTENSIONS, index_folder)
    except OSError as error:
        raise UserError(f"{option}: cannot read {error.filename}: {error.strerror}.") from None
    if not found:
        raise UserError(f"{option}: no pictures ({' '.join(sorted(EXTENSIONS))}) below {folder}.")
    return found


@contextlib.contextmanager
def _decoding(path):
    """What goes wrong within, while a file is decoded, is a BadImage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # corrupt EXIF, palette transparency: handled below
            yield
    except DECODE_ERRORS as error:
        reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
        raise BadImage(path, reason) from None


def read_rgb(path):
    """The picture at `path` as an upright 8-bit RGB PIL image, whatever its mode on disk.

    EXIF rotation is applied; 16-bit grey is scaled down; transparency is laid over white; CMYK, palette and
    grey are converted. Raises BadImage for a missing, truncated or undecodable file.
    """
    with _decoding(path), Image.open(path) as image:
        image.load()
        # Not ImageOps.exif_transpose: it writes all of the EXIF data anew, and fails where another tag is damaged.
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
        if turn is not None:
            image = image.transpose(turn)
        return image if image.mode == "RGB" and "transparency" not in image.info else _to_rgb(image)


def open_image(path):
    """The PIL image at `path` in the mode that it has on disk, decoded. Raises BadImage as read_rgb does."""
    with _decoding(path), Image.open(path) as image:
        image.load()
        return image


def _to_rgb(image):
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        if image.mode == "F":  # float TIFF: [0, 1] or [0, 255]
            values *= 255 if values.max(initial=0) <= 1 else 1
        elif image.mode != "I" or values.max(initial=0) > 255:  # 16-bit samples
            values /= 257
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def centre_square(size):
    """(left, top, right, bottom) of the largest centred square of a (width, height): 178x218 -> 178x178."""
    width, height = size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def resize(image, side, box=None):
    """PIL BICUBIC (antialiased when shrinking) to side x side, of `box` (may be fractional) or of the whole."""
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def degrade(image, scale):
    """The protocols' low-resolution input: PIL BICUBIC down by `scale`, then up again, both in uint8.

    Takes a square RGB PIL image, returns one of the same size (reference: every x8 face benchmark).
    """
    side = image.size[0]
    return resize(resize(image, side // scale), side)


def to_tensor_range(batch):
    """uint8 tensor [N, H, W, 3] in 0..255 -> float32 view [N, 3, H, W] in [-1, 1], channels last in memory."""
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def quantize(image, rounding):
    """Float tensor CHW or NCHW in [-1, 1] -> uint8 array HWC or NHWC in [0, 255].

    Values outside the range are clipped first. `rounding` is "truncate" (down) or "round" (ties to even).
    A uint8 picture that went to [-1, 1] and back comes out unchanged under both. Raises UserError for nan: invalid
    weights or an overflow of half precision give it.
    """
    if rounding not in ("truncate", "round"):
        raise ValueError(f"rounding must be truncate or round, not {rounding!r}.")
    if image.ndim not in (3, 4):
        raise ValueError(f"expected a CHW or NCHW tensor, got shape {tuple(image.shape)}.")
    values = image.detach().cpu().double()
    if values.isnan().any():
        raise UserError("the network's picture holds nan: its weights are spoilt (of a training that diverged: a lower "
                        "--lr, --max_grad_norm), or half precision overflowed (--amp_dtype bfloat16, --opt_level O0).",
                        status=1)
    values = (values.clamp(-1, 1) + 1) / 2 * 255
    # float32 holds 200 as 199.99999: a truncation blind to that would darken pictures that are exact already
    values = values.round() if rounding == "round" else (values + 1e-4).trunc()
    return np.ascontiguousarray(values.byte().movedim(-3, -1).numpy())


def save_image(array, path):
    """Writes a uint8 HWC RGB array in the format of the name's extension, whole or not at all; makes the folder.

    Raises WriteError (utils/files.py).
    """
    with replacing(path, make_folder=True) as file:
        Image.fromarray(array).save(file, FORMATS[Path(path).suffix.lower()])


def save_shown(array, path):
    """save_image for a path that the user gave. Raises UserError if its extension is none of EXTENSIONS."""
    if Path(path).suffix.lower() not in EXTENSIONS:
        raise UserError(f"cannot write {path}: its name must end as a picture's does ({' '.join(sorted(EXTENSIONS))}).")
    save_image(array, path)


def output_names(paths, root):
    """Relative .png names for what is made of the files below `root`, as nested as these; no two of them the same."""
    names = [os.path.splitext(os.path.relpath(path, root))[0] + ".png" for path in paths]
    count = Counter(names)
    return [os.path.relpath(path, root) + ".png" if count[name] > 1 else name
            for path, name in zip(paths, names, strict=True)]


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
