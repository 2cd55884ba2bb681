# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The table at the top of benchmarks/RESULTS.md: a line per job, from rows of the benchmarks' JSON files."""
from typing import NamedTuple

PLAIN = "plain form"  # of the network, benchmarks/plain_forms.py
PROCESSORS = {"avx2": "AVX2", "avx512": "AVX-512, bf16"}  # ending of the files' names: column


class Line(NamedTuple):
    """A job whose time is compared with that of another program or form.

    file: JSON file of benchmarks/results/ without its ending. row: the values that identify the row. ours, theirs,
    ratio: the row's columns of both times and of theirs / ours; `{chosen}` stands for the row's value of that name.
    If they differ, {processor: column}; without a ratio it is that of both times. against: what is compared with.
    preset: whose profile names the limit; None: not profiled.
    """
    job: str
    file: str
    row: dict
    ours: str | dict
    theirs: str | dict
    ratio: str | None
    against: str
    unit: str = "s"
    preset: str | None = None


def training(job, recipe, preset=None):
    return Line(f"{job}: training step", "layout", {"recipe": recipe, "purpose": "training"}, "{chosen} s",
                "plain s", "{chosen} faster", PLAIN, preset=preset)


def restoring(job, recipe):
    return Line(f"{job}: restoring a batch", "layout", {"recipe": recipe, "purpose": "restoring"}, "{chosen} s",
                "plain s", "{chosen} faster", PLAIN)


LINES = [
    training("SPARNet V16, batch 2", "v16", "sparnet_celeba"),
    training("SPARNet-Light, batch 8", "light", "sparnet_light_attn3d"),
    training("FSRNet, batch 4", "fsrnet", "fsrnet_celebamask"),
    training("SPARNetHD 256, batch 2", "sparnethd_256", "sparnethd_256_small"),
    training("GPEN 256 narrow, batch 2", "gpen_256"),
    restoring("SPARNet-Light, batch 8", "light"),
    restoring("FSRNet, batch 4", "fsrnet"),
    Line("GPEN 512: restoring a face", "gpen_restore", {"job": "restoring", "precision": "O0", "faces": 1},
         "project s/face", "grouped s/face", "faster", "grouped convolutions, as published"),
    Line("newtest.py: a face, two cores", "restoring_2_cores", {"cores": 2}, "newtest ms/face", "network ms/face",
         "network / newtest", "the network alone", "ms"),
    Line("SPARNet, half width, batch 1: a step as `auto` computes it, O0 or O2", "precision",
         {"preset": "sparnet_half_width"}, {"avx2": "O0", "avx512": "O2"}, {"avx2": "O2", "avx512": "O0"}, None,
         "the other of the two"),
]


def table(records):
    """Returns the Markdown table of LINES. records: {name of the JSON file: its content}.

    Raises KeyError if a file, row or column is missing.
    """
    of_each = " | ".join(f"{name}: ours, other | times as fast" for name in PROCESSORS.values())
    rows = [f"| job | compared with | {of_each} | limit (AVX2) |", "|---|---|" + "---|---|" * len(PROCESSORS) + "---|"]
    for line in LINES:
        cells = [line.job, line.against]
        for processor in PROCESSORS:
            row = find(records[f"{line.file}_{processor}"]["rows"], line.row)
            ours, theirs = (value(row, column, processor) for column in (line.ours, line.theirs))
            ratio = value(row, line.ratio, processor) if line.ratio else theirs / ours
            cells += [f"{ours:.3g}, {theirs:.3g} {line.unit}", f"{ratio:.2f}"]
        rows.append(f"| {' | '.join([*cells, limit(line.preset, records)])} |")
    return "\n".join(rows) + "\n"


def value(row, column, processor):
    """Returns the row's value in `column`, see Line."""
    return row[(column[processor] if isinstance(column, dict) else column).format(**row)]


def find(rows, wanted):
    """Returns the only row with the values `wanted`; raises KeyError otherwise."""
    found = [row for row in rows if wanted.items() <= row.items()]
    if len(found) != 1:
        raise KeyError(f"{len(found)} rows have {wanted}")
    return found[0]


def limit(preset, records):
    """Returns what holds a training step back: the convolutions' share of its time, and the rate they reach."""
    if preset is None:
        return "not profiled"
    rates, shares = (find(records[name]["rows"], {"preset": preset}) for name in ("ceilings_avx2",
                                                                                 "ceilings_avx2_profile"))
    return f"convolution {shares['convolution']}; {rates['share of it']} of a matrix product's rate (batch 2)"
