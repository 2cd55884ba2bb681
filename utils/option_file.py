# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Reads files of `option: value` lines (YAML): presets, and the options.yml of a run.

A value is the text as it is written, or a list of such texts: YAML 1.1 itself would read `name: 001` as 1, `12:30` as
750, `on` as true and a date as an object. The options' own types convert the text, as on the command line. A plain
`null`, as options.yml has it, leaves the option unset; `"null"` is the text.
"""
import contextlib

import yaml

from utils.errors import UserError, first_line, shown
from utils.files import read_regular_file

LARGEST = 256 * 1024  # bytes; a run's options.yml has about 3,000


def read_option_file(path):
    """Returns {option: text, list of texts, or None for null} of the file at `path`, in its order.

    Raises UserError, with the file and line, for anything but a flat mapping: nested values, tags, anchors, aliases,
    several documents, an option that is set twice, or no value at all; and for a file that is too large or not UTF-8.
    """
    content = read_regular_file(path, LARGEST)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[:error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: the file is not UTF-8 text. Save it as UTF-8.") from None
    try:
        with contextlib.closing(_Events(path, text)) as events:
            return _read(events)
    except yaml.reader.ReaderError as error:
        line = text[:error.position].count("\n") + 1
        raise UserError(f"{path}, line {line}: the character U+{error.character:04X} is not allowed.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(f"{path}, line {mark.line + 1 if mark else 1}: cannot be read as YAML: "
                        f"{shown(error.problem or first_line(error))}.") from None


class _Events:
    """The YAML events of a text, one at a time. Events do not nest, so that deep brackets cost nothing."""

    def __init__(self, path, text):
        self.path = path
        self._loader = yaml.BaseLoader(text)

    def next(self, *kinds, wanted):
        """Returns the next event. Raises UserError, with what is `wanted`, unless it is of one of `kinds`."""
        event = self._loader.get_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self.error(event, "anchors and aliases (& and *) are not read here; write the value itself")
        if getattr(event, "tag", None):
            raise self.error(event, f"tags such as {shown(event.tag)} are not read here; write the value alone")
        if not isinstance(event, kinds):
            raise self.error(event, wanted)
        return event

    def error(self, event, what):
        return UserError(f"{self.path}, line {event.start_mark.line + 1}: {what}.")

    def close(self):
        self._loader.dispose()


def _read(events):
    lines = "`option: value` lines are expected"
    events.next(yaml.StreamStartEvent, wanted=lines)
    if isinstance(events.next(yaml.DocumentStartEvent, yaml.StreamEndEvent, wanted=lines), yaml.StreamEndEvent):
        raise UserError(f"{events.path}: `option: value` lines are expected; the file is empty.")
    events.next(yaml.MappingStartEvent, wanted=lines)
    values, seen = {}, {}
    while not isinstance(key := events.next(yaml.ScalarEvent, yaml.MappingEndEvent, wanted=lines),
                         yaml.MappingEndEvent):
        name = key.value
        if name in values:
            raise events.error(key, f"{shown(name)} is set a second time, after line {seen[name]}; remove one of them")
        seen[name] = key.start_mark.line + 1
        values[name] = _value(events, name)
    events.next(yaml.DocumentEndEvent, wanted=lines)
    events.next(yaml.StreamEndEvent, wanted="a second document begins (---); a file holds one")
    return values


def _value(events, name):
    wanted = f"{shown(name)}: one value or a flat list of values is expected"
    event = events.next(yaml.ScalarEvent, yaml.SequenceStartEvent, wanted=wanted)
    if isinstance(event, yaml.SequenceStartEvent):
        texts = []
        while not isinstance(item := events.next(yaml.ScalarEvent, yaml.SequenceEndEvent, wanted=wanted),
                             yaml.SequenceEndEvent):
            texts.append(item.value)
        return texts
    if event.style is None and event.value == "null":
        return None
    if not event.value.strip():
        raise events.error(event, f"{shown(name)}: the value is empty; write one, or remove the line for the default")
    return event.value
