# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads a form with one photo from a request, into memory; what is too large or too slow is cut off early."""
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from restore.page.jobs import Upload
from restore.page.limits import MB, Limits
from restore.page.names import clean_name
from restore.page.refusal import Refusal
from restore.page.settings import Settings, read_settings
from utils.errors import shown

AROUND = 16_384  # bytes of a form beside its photo: the other fields and the parts' headers
FIELD = 200  # bytes of an option's value


class Form(NamedTuple):
    """name: of the photo's file, as restore/page/names.py cleans it."""
    name: str
    content: bytes
    settings: Settings


async def read_form(request: Request, upload: Upload, limits: Limits) -> Form:
    """Returns the form. Raises Refusal, without reading on, for one that is invalid, too large or too slow."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal("wrong_type")
    most = limits.file_bytes + AROUND
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal() or len(length) > 18 or int(length) > most:
        raise _too_large(limits)
    parser = MultiPartParser(request.headers, _chunks(request, upload, most, limits), max_files=1,
                             max_fields=len(Settings._fields), max_part_size=FIELD)
    parser.spool_max_size = most + 1  # starlette would write larger files to the disk; there are none
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal("bad_form", reason=shown(error.message.rstrip("."))) from None
    try:
        photo = form.get("photo")
        if not isinstance(photo, UploadFile):
            raise Refusal("no_photo")
        fields: dict[str, str] = {}
        for name, value in form.multi_items():
            if name != "photo":
                if isinstance(value, UploadFile) or name in fields:
                    raise Refusal("bad_form", reason=f"{shown(name, 40)} is given twice or as a file")
                fields[name] = value
        settings = read_settings(fields)
        content = await photo.read()
        if len(content) > limits.file_bytes:
            raise _too_large(limits)
        return Form(clean_name(photo.filename or ""), content, settings)
    finally:
        await form.close()


async def _chunks(request: Request, upload: Upload, most: int, limits: Limits) -> AsyncIterator[bytes]:
    """Yields the body as it comes. Raises Refusal if it is too large or too slow; starlette's ClientDisconnect."""
    until, stream = time.monotonic() + limits.upload_seconds, request.stream()
    while True:
        try:
            seconds = max(0.0, min(limits.idle_seconds, until - time.monotonic()))
            chunk = await asyncio.wait_for(anext(stream), seconds)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise Refusal("slow_upload") from None
        upload.grow(len(chunk))
        if upload.size > most:
            raise _too_large(limits)
        yield chunk


def _too_large(limits: Limits) -> Refusal:
    return Refusal("large_file", megabytes=limits.file_bytes // MB)
