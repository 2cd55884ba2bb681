# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes videos through ffmpeg, frame by frame; sound, subtitles, times and descriptions survive."""
from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from restore import matroska
from restore.ffmpeg import file_name, probe, running, source
from utils.files import WriteError
from utils.images import BadImage

MOST_PIXELS = 8192 * 4320  # of a frame: fifteen of them are in memory at a time
LONGEST = 10 ** 8  # seconds
MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}  # what is written
OTHERS = (".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".3gp", ".vob")  # become Matroska
EXTENSIONS = frozenset((*MUXERS, *OTHERS))
ELSE_SUFFIX = ".mkv"  # that names of others get
# Nearly without visible loss. One frame after the other is encoded once, so the size matters less than the quality.
H264 = ("libx264", "-crf", "14", "-preset", "medium")
VP9 = ("libvpx-vp9", "-crf", "14", "-b:v", "0", "-deadline", "good", "-cpu-used", "3", "-row-mt", "1")
FFV1 = ("ffv1", "-level", "3", "-g", "1")
LOSSLESS = ("ffv1", "ffvhuff", "huffyuv", "utvideo", "rawvideo", "png", "qtrle", "magicyuv", "lagarith")
SAMPLED = ("yuv420p", "yuv422p", "yuv444p")  # pixel formats that are kept; others become the first, RGB the last
DEEP = re.compile("(?<!rgb[45]..)(?<!bgr[45]..)[lb]e$")  # two bytes per sample, or per pixel as in rgb565le
EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
OF_DISK = ("No space left", "quota", "Read-only", "Input/output error", "signal")  # in the encoder's last message
# ffprobe's names of the matrices from RGB to luma and chroma, and those of ffmpeg's scale filter
MATRICES = {"bt709": "bt709", "bt470bg": "bt601", "smpte170m": "bt601", "fcc": "fcc", "smpte240m": "smpte240m",
            "bt2020nc": "bt2020", "bt2020c": "bt2020"}
COLOUR_TAGS = {"color_range": "-color_range", "color_space": "-colorspace", "color_primaries": "-color_primaries",
               "color_transfer": "-color_trc"}
COPIED = {"audio": "a", "subtitle": "s", "attachment": "t"}  # kinds of streams beside the pictures


class Video(NamedTuple):
    """What the file says of its pictures.

    stream: index of the pictures' stream. size: (width, height) as stored. turns: quarter turns counter-clockwise by
    which a player shows the frames. unit: of the frames' times, in seconds. rate: frames per second on average.
    frames: how many there are, roughly; None if that is unknown. colour: ffprobe's tags. aspect: of the pixels, 1:1.
    pixel_format: of the output. kept: indices of the streams that are copied. tags: descriptions of the file. muxer,
    suffix: the output's container, and what its name gets because its own is not written, else "". codec: encoder with
    its options. notes: what will not survive.
    """
    path: Path
    stream: int
    size: tuple[int, int]
    turns: int
    unit: Fraction
    rate: Fraction
    frames: int | None
    colour: dict[str, str]
    aspect: str | None
    pixel_format: str
    kept: tuple[int, ...]
    tags: dict[str, str]
    muxer: str
    suffix: str
    codec: tuple[str, ...]
    notes: tuple[str, ...]


class Frame(NamedTuple):
    """pixels: uint8 [H, W, 3], RGB, upright. time, duration: in seconds."""
    pixels: np.ndarray
    time: Fraction
    duration: Fraction


def read_video(path: str | Path) -> Video:
    """Returns the Video of a file. Raises BadImage for what cannot be read, or kept."""
    path = Path(path)
    found = probe(path, "-show_streams", "-show_format")
    try:
        return _described(path, found)
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a damaged file may say anything
        raise BadImage(path, "what it says of its pictures makes no sense; it may be damaged") from None


def _described(path, found):
    """Returns the Video for what ffprobe has found."""
    streams = found.get("streams", [])
    pictures = [s for s in streams if s.get("codec_type") == "video" and not _is_cover(s)]
    if not pictures:
        raise BadImage(path, "it has no pictures, only sound or data" if streams else "there is nothing in it")
    stream = pictures[0]
    width, height, kind = stream.get("width", 0), stream.get("height", 0), stream.get("pix_fmt", "unknown")
    if not width or not height or kind == "unknown":
        raise BadImage(path, "it does not say how large its pictures are; it may be damaged")
    if width * height > MOST_PIXELS:
        raise BadImage(path, f"its frames have {width}x{height} pixels, more than {MOST_PIXELS:,}")
    _check_kept(path, stream, kind)
    kept = [s for s in streams if s.get("codec_type") in COPIED or s in pictures[1:] or _is_cover(s)]
    notes = [f"{len(streams) - len(kept) - 1} data streams are left out"] if len(kept) + 1 < len(streams) else []
    if stream.get("field_order", "progressive") not in ("progressive", "unknown"):
        notes.append("it is interlaced: its frames are kept whole, and marked as progressive")
    suffix = "" if path.suffix.lower() in MUXERS else ELSE_SUFFIX
    rate = _fraction(stream.get("avg_frame_rate")) or _fraction(stream.get("r_frame_rate")) or Fraction(25)
    seconds = float(stream.get("duration") or found.get("format", {}).get("duration") or 0)
    frames = int(stream.get("nb_frames") or 0) or round(seconds * rate) or None
    colour = {name: stream[name] for name in COLOUR_TAGS if stream.get(name, "unknown") not in ("unknown", "reserved")}
    if kind.startswith("yuvj"):
        colour["color_range"] = "pc"
    if colour.get("color_space") == "gbr":
        del colour["color_space"]  # what is written is not RGB
    muxer = "matroska" if suffix else MUXERS[path.suffix.lower()]
    if stream.get("codec_name") in LOSSLESS and muxer == "matroska":
        codec, pixel_format = FFV1, "bgr0"
    else:
        codec, pixel_format = VP9 if muxer == "webm" else H264, kind.replace("yuvj", "yuv")
        if pixel_format not in SAMPLED:
            pixel_format = "yuv444p" if "rgb" in kind or "gbr" in kind or "bgr" in kind else SAMPLED[0]
    return Video(path, stream["index"], (width, height), _turns(path, stream), Fraction(stream["time_base"]), rate,
                 frames, colour, stream.get("sample_aspect_ratio"), pixel_format,
                 tuple(s["index"] for s in kept), found.get("format", {}).get("tags", {}), muxer, suffix, codec,
                 tuple(notes))


def _is_cover(stream):
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _check_kept(path, stream, kind):
    """Raises BadImage for pictures of which the output could only keep a part."""
    if int(stream.get("bits_per_raw_sample") or 8) > 8 or DEEP.search(kind):
        raise BadImage(path, "it has more than 8 bits per channel, which videos cannot keep yet: convert it first")
    if any(name in kind for name in ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8")) or \
            stream.get("tags", {}).get("alpha_mode") == "1":
        raise BadImage(path, "it is transparent in places, which videos cannot keep yet: convert it first")


def _fraction(text):
    """Returns ffprobe's 30000/1001 as a number, None for 0/0 and the like."""
    above, _, below = (text or "0").partition("/")
    return Fraction(int(above), int(below or 1)) if int(above) and int(below or 1) else None


def _turns(path, stream):
    """Returns by how many quarter turns counter-clockwise a player turns the frames."""
    for data in stream.get("side_data_list", ()):
        if "displaymatrix" in data:
            across, _, _, down, *_ = matrix = _matrix(data["displaymatrix"])
            if across * matrix[4] - matrix[1] * matrix[3] <= 0 or int(data["rotation"]) % 90:
                raise BadImage(path, "players mirror it or turn it askew, which cannot be kept: convert it first")
            return int(data["rotation"]) // 90 % 4
    return 0


def _matrix(text):
    """Returns the nine numbers of ffprobe's display matrix, three lines as `00000000:  0  65536  0`."""
    return [int(number) for line in text.strip().splitlines() for number in line.partition(":")[2].split()]


class VideoReader:
    """An iterator over the Frames of a video. damage: afterwards the decoder's complaint, or None."""

    def __init__(self, video: Video, decoder, stamps: BinaryIO) -> None:
        self.video, self._decoder, self._stamps = video, decoder, stamps
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        width, height = self.video.size
        last, duration, unit = None, 1 / self.video.rate, self.video.unit
        while True:
            pixels = np.empty((height, width, 3), np.uint8)
            if self._decoder.child.stdout.readinto(pixels.data.cast("B")) < pixels.nbytes:
                break
            unit, time, own_duration = self._stamp(unit)
            if not 0 <= (own_duration or 0) < LONGEST:
                own_duration = None
            if time is None or last is not None and time <= last:  # damaged: an encoder needs rising times
                time = last + max(duration, unit) if last is not None else Fraction(0)
            if abs(time) > LONGEST:
                raise BadImage(self.video.path, "the times of its frames make no sense; it is damaged")
            duration, last = own_duration or duration, time
            yield Frame(np.ascontiguousarray(np.rot90(pixels, self.video.turns)), time, duration)
        reason = self._decoder.finish()
        if last is None or reason:
            reason = reason or self._decoder.complaint() or "it has no frames"
            raise BadImage(self.video.path, f"ffmpeg cannot decode it: {reason}")
        self.damage = self._decoder.complaint()

    def _stamp(self, unit):
        """Returns (unit of times, time, duration or None) of the next frame, in seconds, from ffmpeg's frame list."""
        for line in self._stamps:
            if line.startswith(b"#tb 0:"):
                unit = Fraction(line.partition(b":")[2].strip().decode())
            elif not line.startswith(b"#"):
                _, _, time, duration, *_ = (field.strip() for field in line.split(b","))
                return unit, None if time == b"NOPTS" else int(time) * unit, int(duration) * unit
        return unit, None, None


@contextlib.contextmanager
def reading(video: Video) -> Iterator[VideoReader]:
    """Yields the VideoReader of a video; after the block the decoder is gone."""
    stamps, written = os.pipe()
    try:
        with open(stamps, "rb") as lines:
            width, height = video.size
            same = ["-map", f"0:{video.stream}", "-fps_mode", "passthrough", "-enc_time_base", _ratio(video.unit)]
            colour = (f"scale={width}:{height}:in_color_matrix={_colour_matrix(video)}:in_range={_range(video)}:"
                      f"out_range=pc:{EXACT},format=rgb24")
            # The times come first: when a frame has arrived, so has its time.
            words = ["-noautorotate", "-copyts", *source(video.path),
                     *same, "-vf", "scale=2:2:flags=neighbor", "-flush_packets", "1", "-f", "framecrc",
                     f"pipe:{written}", *same, "-vf", colour, "-c:v", "rawvideo", "-f", "rawvideo", "pipe:1"]
            with running(words, video.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         pass_fds=(written,)) as decoder:
                os.close(written)
                written = None
                yield VideoReader(video, decoder, lines)
    finally:
        if written is not None:
            os.close(written)


def _ratio(number):
    return f"{number.numerator}/{number.denominator}"


def _colour_matrix(video):
    return MATRICES.get(video.colour.get("color_space"), "bt601")


def _range(video):
    return "pc" if video.colour.get("color_range") == "pc" else "tv"


class VideoWriter:
    """Takes the Frames of a video and encodes them. count: of the frames so far."""

    def __init__(self, video: Video, target: Path, encoder, shift: int, name: Path) -> None:
        self._video, self._target, self._encoder, self._shift, self._name = video, target, encoder, shift, name
        self.count = 0

    def write(self, frame: Frame) -> None:
        """Encodes the next frame, of the same size as the first. Raises WriteError."""
        pixels = np.ascontiguousarray(np.rot90(frame.pixels, -self._video.turns))
        pipe = self._encoder.child.stdin
        try:
            pipe.write(matroska.frame_head(pixels.nbytes, _ns(frame.time) + self._shift, _ns(frame.duration)))
            pipe.write(pixels.data.cast("B"))
        except OSError:  # the pipe is broken: the encoder has ended
            self._fail(self._encoder.finish())
        self.count += 1

    def finish(self) -> None:
        """Waits for the encoder, and looks whether all frames are in its file. Raises WriteError."""
        try:
            self._encoder.child.stdin.close()
        except OSError:
            self._fail(self._encoder.finish())
        reason = self._encoder.finish()
        if reason:
            self._fail(reason)
        # ffmpeg does not fail for every error, e.g. of a disk that becomes full as the file is closed.
        try:
            found = probe(self._target, "-select_streams", "v:0", "-count_packets", "-show_entries",
                          "stream=nb_read_packets", whole=True)
        except BadImage as error:
            self._fail(self._encoder.complaint() or error.reason)
        written = int(found["streams"][0].get("nb_read_packets", 0)) if found.get("streams") else 0
        if written != self.count:
            self._fail(self._encoder.complaint() or f"{written} of {self.count} frames are in it")

    def _fail(self, reason):
        """Raises WriteError. That of a full disk ends the run; after others further files may be written."""
        reason = f"ffmpeg's encoder failed: {reason or 'it ended too early'}"
        of_disk = any(words in reason for words in OF_DISK)
        advice = "Check the disk, then run the command again" if of_disk else "Convert the video, e.g. to .mkv, first"
        raise WriteError(f"cannot write {self._name}: {reason}. {advice}.", reason, of_name=not of_disk)


@contextlib.contextmanager
def writing(video: Video, first: Frame, target: Path, name: Path) -> Iterator[VideoWriter]:
    """Yields the VideoWriter of a video; after the block the encoder is gone.

    first: the first frame, for its size and time. target: the file that is written. name: the one that messages name.
    """
    height, width = first.pixels.shape[:2]
    if video.turns % 2:
        height, width = width, height
    seconds = max(0, -(first.time.numerator // first.time.denominator))  # Matroska's times are not negative
    words = ["-y", "-copyts", "-noautorotate", "-itsoffset", str(-seconds), "-protocol_whitelist", "pipe",
             "-f", "matroska", "-i", "pipe:0", *source(video.path), *_output_options(video, (width, height)),
             "-f", video.muxer, file_name(target)]
    with running(words, video.path, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as encoder:
        writer = VideoWriter(video, target, encoder, seconds * matroska.SECOND, name)
        with contextlib.suppress(OSError):  # the first frame's write reports it
            encoder.child.stdin.write(matroska.stream_head(width, height, _ns(1 / video.rate), video.turns))
        yield writer


def _output_options(video, size):
    words = ["-map", "0:v:0", *(word for index in video.kept for word in ("-map", f"1:{index}"))]
    words += ["-map_metadata", "1", "-map_chapters", "1"]
    for number, index in enumerate((video.stream, *video.kept)):
        words += [f"-map_metadata:s:{number}", f"1:s:{index}"]
    pixel_format = video.pixel_format
    if video.codec is H264 and (size[0] % 2 or size[1] % 2):
        pixel_format = "yuv444p"  # the encoder takes no odd sizes with half the colour
    filters = [f"scale=out_color_matrix={_colour_matrix(video)}:out_range={_range(video)}:{EXACT}",
               f"format={pixel_format}"]
    if pixel_format == "bgr0":
        filters = ["format=bgr0"]
    if video.aspect and not video.aspect.startswith("0"):
        filters.append(f"setsar={video.aspect.replace(':', '/')}")
    words += ["-c", "copy", "-c:v:0", *video.codec, "-filter:v:0", ",".join(filters), "-fps_mode:v:0", "passthrough",
              "-enc_time_base:v:0", _ratio(video.unit)]
    if pixel_format != "bgr0":
        words += [word for name, value in video.colour.items() for word in (f"{COLOUR_TAGS[name]}:v:0", value)]
    if video.muxer in ("mp4", "mov"):
        words += ["-video_track_timescale", str(video.unit.denominator)]
        if any("." in name for name in video.tags):  # e.g. com.apple.quicktime.make
            words += ["-movflags", "use_metadata_tags"]
    return words


def _ns(seconds: Fraction | Any) -> int:
    return round(seconds * matroska.SECOND)
