# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Writes the results table of README.md and README_zh.md from newtest.py's JSON files in docs/results.

    python newtest.py --pretrained sparnet --gtroot CELEBA/test --name sparnet_celeba_test
    cp results/sparnet_celeba_test/scores.json docs/results/sparnet_celeba_test.json
    python -m tools.readme_results
"""
import json
from pathlib import Path

from utils.errors import run_main
from utils.files import write_file
from utils.option_types import tool_parser

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- written by tools/readme_results.py -->\n", "<!-- end -->\n"
HEAD = """| scored | protocol | PSNR / SSIM | input | gain |
|---|---|---|---|---|
"""


def rows(report):
    """Yields the table's lines for one scores.json, one per protocol."""
    what = (f"{report['name']}: {report['parameters'] / 1e6:.2f} M parameters, {report['faces']} faces, "
            f"{report['opt_level']}")
    for protocol, scores in report["protocols"].items():
        sr, low = (scores.get(name, scores.get(before)) for name, before in (("restored", "sr"), ("input", "bicubic")))
        yield (f"| {what} | {protocol} | {sr['psnr']:.2f} / {sr['ssim']:.4f} | {low['psnr']:.2f} / {low['ssim']:.4f} "
               f"| {gain_of(report, protocol, sr, low):+.2f} dB |\n")
        what = '"'


def gain_of(report, protocol, sr, low):
    """Returns the mean gain in dB; reports of commits before 'gain' have the same faces in both means."""
    return report["gain"][protocol]["psnr"] if "gain" in report else sr["psnr"] - low["psnr"]


def commands(report):
    """Returns the lines below the table for one scores.json: its command, commit, device and weights."""
    return (f"    {report['name']}: {report['command']}\n"
            f"        commit {report['commit']}, {report['device']}, weights {report['weights_sha256'][:12]}\n")


def results_text():
    """Returns the text between README.md's markers BEGIN and END."""
    folder = ROOT / "docs" / "results"
    files = sorted([*folder.glob("*.json"), *(folder / "restoration").glob("face*_own.json"),
                    *(folder / "restoration").glob("face*_pairs.json")])
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    table = "".join(line for report in reports for line in rows(report))
    return f"{HEAD}{table}\n{''.join(commands(report) for report in reports)}"


def main():
    tool_parser(__doc__).parse_args()
    for path in (ROOT / "README.md", ROOT / "README_zh.md"):
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        write_file(path, before + BEGIN + results_text() + END + rest.partition(END)[2])
        print(f"{path}: table written from {ROOT / 'docs' / 'results'}")


if __name__ == "__main__":
    run_main(main)
