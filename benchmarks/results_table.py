# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Writes benchmarks/RESULTS.md from the benchmarks' JSON files in benchmarks/results/.

    python -m benchmarks.results_table
"""
import json
from pathlib import Path

from utils.errors import run_main
from utils.files import write_file
from utils.option_types import tool_parser

FOLDER = Path(__file__).parent
HEAD = """# Benchmark results

`python -m benchmarks.results_table` writes this file from benchmarks/results/*.json, which the commands below wrote.
Times are medians. Ratios are medians over alternating rounds and are more reliable than times on a noisy machine. A `+`
after a commit means that the measured files differed from the commit. Nothing was measured on a GPU or an NPU yet.

- Kills: other programs ran at the same time, so the counts are valid but the seconds are not.
- Facial priors: other programs ran at the same time, so images/s are too low, but the ratios are valid.
- Training steps: commit be3259b and older used GNU OpenMP's default wait policy; later commits use the project's
  (utils/__init__.py).
- gpen_builtin: the step waits for its one worker, because degrading a face at 512 pixels takes longer than a training
  step at 64 pixels.
- GPEN against the grouped form, and gpen_256_narrow's step: ran on one core; another training used the other core.
"""


def section(record):
    """Returns the Markdown section of one benchmark's JSON record."""
    rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in record["rows"]]
    lines = [f"\n## {record['title']}\n", f"`{record['command']}`, commit {record['commit']}, {record['date']}\n",
             "| " + " | ".join(record["rows"][0]) + " |", "|" + "---|" * len(record["rows"][0])]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def main():
    tool_parser(__doc__).parse_args()
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "results").glob("*.json"))]
    write_file(FOLDER / "RESULTS.md", HEAD + "".join(section(record) for record in records))
    print(f"{FOLDER / 'RESULTS.md'}: {len(records)} tables")


if __name__ == "__main__":
    run_main(main)
