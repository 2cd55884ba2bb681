# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Writes benchmarks/RESULTS.md from the benchmarks' JSON files in benchmarks/results/.

    python -m benchmarks.results_table

A short table comes first (benchmarks/summary.py), then the long ones by processor.
"""
import json
from collections import defaultdict
from pathlib import Path

from benchmarks import summary
from utils.errors import run_main
from utils.files import write_file
from utils.option_types import tool_parser

FOLDER = Path(__file__).parent
EARLIER = "Earlier machines, whose abilities were not recorded"
HEAD = """# Benchmark results

`python -m benchmarks.results_table` writes this file from benchmarks/results/*.json, which the commands below wrote.
Times are medians. Ratios are medians over alternating rounds and are more reliable than times on a noisy machine.
Nothing was measured on a GPU or an NPU yet.

"""
NOTES = """
The plain form of a network computes layer by layer as its paper describes it, in the contiguous layout, with torch's
own optimizer. Training steps and restoring are in float32 on one thread, by the process's time; GPEN 512 with AVX-512
is on two threads.

- A `+` after a commit means that the measured files differed from the commit.
- Kills, stops, mutants, memory: other programs ran at the same time, so the counts are valid but the seconds are not.
- Facial priors on the earlier machine; with AVX2, photos in batches: other programs ran at the same time, so images/s
  and photos/s are too low, but the ratios are valid.
- Requests to the page with AVX2: other programs ran at the same time, so photos/s are too low and waits too long.
- Training steps: commit be3259b and older used GNU OpenMP's default wait policy; later commits use the project's
  (utils/__init__.py).
- gpen_builtin: the step waits for its one worker, because degrading a face at 512 pixels takes longer than a training
  step at 64 pixels.
- GPEN against the grouped form, and gpen_256_narrow's step on the earlier machine: ran on one core; another training
  used the other core.
"""


def section(records):
    """Returns the Markdown section of JSON records with the same title and columns."""
    columns = list(records[0]["rows"][0])
    rows = [[f"{row[c]:.4g}" if isinstance(row[c], float) else str(row[c]) for c in columns]
            for record in records for row in record["rows"]]
    lines = [f"\n### {records[0]['title']}\n",
             *(f"`{record['command']}`, commit {record['commit']}, {record['date']}\n" for record in records),
             "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def read_records():
    """Returns {name of the JSON file: its content}."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in sorted((FOLDER / "results").glob("*.json"))}


def results(records):
    """Returns the content of RESULTS.md."""
    tables = defaultdict(lambda: defaultdict(list))
    for record in records.values():
        tables[record.get("processor", EARLIER)][(record["title"], *record["rows"][0])].append(record)
    return HEAD + summary.table(records) + NOTES + "".join(
        f"\n## {processor}\n" + "".join(map(section, of_processor.values()))
        for processor, of_processor in sorted(tables.items(), key=lambda item: item[0] == EARLIER))


def main():
    tool_parser(__doc__).parse_args()
    text = results(read_records())
    write_file(FOLDER / "RESULTS.md", text)
    print(f"{FOLDER / 'RESULTS.md'}: {text.count('### ')} tables")


if __name__ == "__main__":
    run_main(main)
