"""Write README.md's results table from the JSON files that newtest.py wrote, kept in docs/results.

    python newtest.py --pretrained sparnet --gtroot CELEBA/test --name sparnet_celeba_test
    cp results/sparnet_celeba_test/scores.json docs/results/sparnet_celeba_test.json
    python -m tools.readme_results
"""
import argparse
import json
from pathlib import Path

from utils.files import write_file

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- written by tools/readme_results.py -->\n", "<!-- end -->\n"
HEAD = """| scored | protocol | PSNR / SSIM | bicubic | gain |
|---|---|---|---|---|
"""


def rows(report):
    """Table lines of one scores.json, one a protocol."""
    what = (f"{report['name']}: {report['parameters'] / 1e6:.2f} M parameters, {report['faces']} faces, "
            f"{report['opt_level']}")
    for protocol, scores in report["protocols"].items():
        sr, low = scores["sr"], scores["bicubic"]
        yield (f"| {what} | {protocol} | {sr['psnr']:.2f} / {sr['ssim']:.4f} | {low['psnr']:.2f} / {low['ssim']:.4f} "
               f"| {sr['psnr'] - low['psnr']:+.2f} dB |\n")
        what = '"'


def commands(report):
    return (f"    {report['name']}: {report['command']}\n"
            f"        commit {report['commit']}, {report['device']}, weights {report['weights_sha256'][:12]}\n")


def results_text():
    """The text between README.md's markers."""
    reports = [json.loads(path.read_text()) for path in sorted((ROOT / "docs" / "results").glob("*.json"))]
    table = "".join(line for report in reports for line in rows(report))
    return f"{HEAD}{table}\n{''.join(commands(report) for report in reports)}"


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    path = ROOT / "README.md"
    before, _, rest = path.read_text().partition(BEGIN)
    write_file(path, before + BEGIN + results_text() + END + rest.partition(END)[2])
    print(f"{path}: results of {ROOT / 'docs' / 'results'}")


if __name__ == "__main__":
    main()
