# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The table at the top of benchmarks/RESULTS.md: a line per job, from rows of the benchmarks' JSON files."""
from typing import NamedTuple

PLAIN = "plain form"  # of the network, benchmarks/plain_forms.py


class Line(NamedTuple):
    """A job whose time is compared with that of another program or form.

    file: JSON file of benchmarks/results/ without extension. row: the values that identify the row. ours, theirs,
    ratio: the row's columns of both times and of theirs / ours; `{chosen}` stands for the row's value of that name.
    against: what is compared with. preset: whose profile names the limit; None: not profiled.
    """
    job: str
    file: str
    row: dict
    ours: str
    theirs: str
    ratio: str
    against: str
    unit: str = "s"
    preset: str | None = None


def training(job, recipe, preset=None):
    return Line(f"{job}: training step", "layout_avx2", {"recipe": recipe, "purpose": "training"}, "{chosen} s",
                "plain s", "{chosen} faster", PLAIN, preset=preset)


def restoring(job, recipe):
    return Line(f"{job}: restoring a batch", "layout_avx2", {"recipe": recipe, "purpose": "restoring"}, "{chosen} s",
                "plain s", "{chosen} faster", PLAIN)


LINES = [
    training("SPARNet V16, batch 2", "v16", "sparnet_celeba"),
    training("SPARNet-Light, batch 8", "light", "sparnet_light_attn3d"),
    training("FSRNet, batch 4", "fsrnet", "fsrnet_celebamask"),
    training("SPARNetHD 256, batch 2", "sparnethd_256", "sparnethd_256_small"),
    training("GPEN 256 narrow, batch 2", "gpen_256"),
    restoring("SPARNet-Light, batch 8", "light"),
    restoring("FSRNet, batch 4", "fsrnet"),
    Line("GPEN 512: restoring a face", "gpen_restore_avx2", {"job": "restoring", "precision": "O0", "faces": 1},
         "project s/face", "grouped s/face", "faster", "grouped convolutions, as published"),
    Line("newtest.py: a face, two cores", "restoring_2_cores", {"cores": 2}, "newtest ms/face", "network ms/face",
         "network / newtest", "the network alone", "ms"),
    Line("SPARNet, half width, batch 1: a step in O0", "precision_avx2", {"preset": "sparnet_half_width"}, "O0", "O2",
         "O2 / O0", "O2, which `auto` avoids here"),
]


def table(records):
    """Returns the Markdown table of LINES. records: {name of the JSON file: its content}.

    Raises KeyError if a file, row or column is missing.
    """
    rows = ["| job | ours | compared with | its time | times as fast | limit |", "|---|---|---|---|---|---|"]
    for line in LINES:
        row = find(records[line.file]["rows"], line.row)
        ours, theirs, ratio = (row[column.format(**row)] for column in (line.ours, line.theirs, line.ratio))
        cells = [line.job, f"{ours:.3g} {line.unit}", line.against, f"{theirs:.3g} {line.unit}", f"{ratio:.2f}",
                 limit(line.preset, records)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


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
