# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restoring networks in ONNX files: their metadata, their checksum, and the runtimes that compute them.

This is the part of deploy/runtimes.py that restore/ needs, too. It lies below both, and imports neither torch nor
anything that does: a server that uses a deployed file installs numpy, Pillow and one runtime.
"""
from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from utils.errors import UserError, first_line, shown
from utils.files import check_regular_file

SUFFIX = ".onnx"
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}  # {runtime: the package that it is in}
RUNTIMES = tuple(PACKAGES)
REQUIREMENTS = "requirements-deploy.txt"
INPUT, OUTPUT = "input", "output"
LARGEST = 2 ** 31  # bytes; protobuf refuses more
GRAPH, METADATA = 7, 14  # protobuf: numbers of two fields of a model
VARINT, LENGTH = 0, 2  # protobuf: kinds of fields
FIXED = {1: 8, 5: 4}  # {kind: bytes}
DIGEST = "sha256"


def import_package(name: str, needed_by: str, source: str = f"pip install -r {REQUIREMENTS}"):
    """Returns the module `name`. Raises UserError if it is not installed.

    needed_by: an option and its value. source: how it is installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{needed_by}: the package {name} cannot be imported ({shown(first_line(error))}). Install it: "
                        f"{source}") from None


def checked_content(model: bytes) -> bytes:
    """Returns a serialised ONNX model with a checksum of itself as the last entry of its metadata.

    A protobuf message that is appended to another is merged into it, so this needs no second serialisation.
    """
    return model + _digest_entry(model)


def _digest_entry(model: bytes) -> bytes:
    value = hashlib.sha256(model).hexdigest().encode()
    entry = _field(1, DIGEST.encode()) + _field(2, value)
    return _field(METADATA, entry)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | LENGTH, len(content)]) + content  # shorter than 128 bytes: one byte of length


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Returns the metadata {name: text} of the ONNX file at `path`, of which no runtime reads all.

    Raises UserError for a file that is no ONNX model, that is cut short, or whose checksum is wrong.
    """
    check_regular_file(path, LARGEST)
    content = Path(path).read_bytes()
    found, whole = {}, False
    try:
        for number, value in _fields(content):
            whole = whole or number == GRAPH
            if number == METADATA:
                entry = dict(_fields(value))
                found[bytes(entry[1]).decode()] = bytes(entry.get(2, b"")).decode()
    except (IndexError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(f"{shown(path, 300)}: it is no ONNX model, or it is cut short or damaged. Copy it again.")
    if DIGEST in found:
        size = len(_digest_entry(b""))
        if _digest_entry(content[:-size]) != content[-size:]:
            raise UserError(f"{shown(path, 300)}: it is damaged or was changed: its checksum is wrong. Copy or export "
                            f"it again.")
        del found[DIGEST]
    return found


def _fields(content: bytes) -> Iterator[tuple[int, int | memoryview]]:
    """Yields (number, value) of each field of a protobuf message. Raises IndexError or ValueError for other bytes."""
    view, place = memoryview(content), 0
    while place < len(view):
        key, place = _varint(view, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(view, place)
        elif kind == LENGTH or kind in FIXED:
            length, place = _varint(view, place) if kind == LENGTH else (FIXED[kind], place)
            value, place = view[place:place + length], place + length
            if place > len(view):
                raise ValueError("cut short")
        else:
            raise ValueError("no protobuf message")
        yield number, value


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    """Returns (the number at `place`, where it ends)."""
    value = shift = 0
    while True:
        byte = view[place]
        value, place = value | (byte & 127) << shift, place + 1
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("no protobuf message")


class OnnxNetwork:
    """A network in an ONNX file, ready to compute on the CPU: network(float32 [N, 3, S, S]) -> likewise.

    metadata   {name: text}, written by newexport.py
    runtime    "onnx" (ONNX Runtime) or "openvino"

    Several threads may call it at the same time.
    """

    def __init__(self, path: str | os.PathLike, runtime: str = "onnx", threads: int | None = None) -> None:
        """threads: that compute one batch; None: as many as the runtime chooses.

        Raises UserError if the file cannot be used, or the runtime is not installed.
        """
        if runtime not in RUNTIMES:
            raise UserError(f"runtime {shown(runtime)!r}: it is one of {', '.join(RUNTIMES)}.")
        self.path, self.runtime, self.metadata = Path(path), runtime, read_metadata(path)
        module = import_package(PACKAGES[runtime], f"runtime {runtime}")
        with _explaining(path):
            self._compute = _RUNNERS[runtime](module, os.fspath(path), threads)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        return self._compute(faces)


@contextlib.contextmanager
def _explaining(path):
    """Turns whatever a runtime raises for a file into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each runtime has its own exceptions for each kind of damage
        raise UserError(f"{shown(path, 300)}: the runtime cannot load it: {shown(first_line(error), 300)}") from None


def _onnxruntime(module, path, threads):
    options = module.SessionOptions()
    options.log_severity_level = 3  # errors; they are raised, too
    options.intra_op_num_threads = threads or 0
    try:
        path.encode()
    except UnicodeEncodeError:  # ONNX Runtime takes names in UTF-8 only
        path = Path(path).read_bytes()
    session = module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda faces: session.run([OUTPUT], {INPUT: faces})[0]


def _openvino(module, path, threads):
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    # In a thread of its own: OpenVINO gives the compiling thread a stack for signals, which it frees with the network,
    # in whatever thread that happens. The next signal of the compiling thread, e.g. SIGTERM, would then be a crash.
    with ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(module.Core().compile_model, path, "CPU", settings).result()

    def compute(faces):
        return compiled.create_infer_request().infer({INPUT: faces})[OUTPUT]
    return compute


_RUNNERS = {"onnx": _onnxruntime, "openvino": _openvino}
