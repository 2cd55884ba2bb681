"""Reads, resizes and writes face images: RGB, as uint8 HWC arrays or PIL images."""
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

# Pillow's decoders raise these for a corrupted file; any other exception is a bug and must not be hidden.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)

TITLE_HEIGHT = 18  # pixels, of the line of titles above a grid

ORIENTATION = 0x0112  # EXIF's orientation tag; UPRIGHT: the transpose that makes each orientation upright
UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_90}


class BadImage(Exception):
    """A file that cannot be used as a face image; has the attributes `path` and `reason`."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def list_images(folder, option, index_folder=None):
    """Returns the FileList (utils/file_list.py) of all images below `folder`, recursively, in a fixed order.

    index_folder: where a long list is saved. Raises UserError, naming `option`, if the folder is missing, is a file,
    cannot be read, or holds no image.
    """
    if not os.path.exists(folder):
        raise UserError(f"{option}: the folder {folder} does not exist.")
    if not os.path.isdir(folder):
        raise UserError(f"{option}: {folder} is a file; a folder of face images is needed.")
    try:
        found = list_files(folder, EXTENSIONS, index_folder)
    except OSError as error:
        raise UserError(f"{option}: cannot read {error.filename}: {error.strerror}.") from None
    if not found:
        raise UserError(f"{option}: no images ({' '.join(sorted(EXTENSIONS))}) below {folder}.")
    return found


@contextlib.contextmanager
def _decoding(path):
    """Turns a decoding error inside the `with` block into BadImage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # corrupt EXIF, palette transparency: handled below
            yield
    except DECODE_ERRORS as error:
        reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
        raise BadImage(path, reason) from None


def read_rgb(path):
    """Returns the image at `path` as an upright 8-bit RGB PIL image, in every mode on disk.

    Applies EXIF rotation, scales 16-bit grey to 8 bits, composites transparency over white and converts CMYK, palette
    and grey. Raises BadImage if the file is missing, truncated or cannot be decoded.
    """
    with _decoding(path), Image.open(path) as image:
        image.load()
        # Not ImageOps.exif_transpose: it rewrites all EXIF data and fails if another tag is corrupted.
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
        if turn is not None:
            image = image.transpose(turn)
        return image if image.mode == "RGB" and "transparency" not in image.info else _to_rgb(image)


def open_image(path):
    """Returns the decoded PIL image at `path` in its mode on disk. Raises BadImage like read_rgb."""
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
    """Returns (left, top, right, bottom) of the largest centred square; size: (width, height), in pixels."""
    width, height = size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def resize(image, side, box=None):
    """Resizes `box` (may be fractional; default: the whole image) to side x side: PIL BICUBIC, antialiased."""
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)


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
    values = (values.clamp(-1, 1) + 1) / 2 * 255
    # float32 rounding may turn 200 into 199.99999, which plain truncation would make 199
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
        raise UserError(f"cannot write {path}: use an image extension ({' '.join(sorted(EXTENSIONS))}).")
    save_image(array, path)


def output_names(paths, root):
    """Returns a unique relative .png name for each of the files below `root`, in the same subfolders."""
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
