"""Write benchmarks/RESULTS.md from the JSON files that the benchmarks left in benchmarks/results/.

    python -m benchmarks.results_table
"""
import argparse
import json
from pathlib import Path

FOLDER = Path(__file__).parent
HEAD = """# What was measured

Written by `python -m benchmarks.results_table` from benchmarks/results/*.json, which the commands below wrote. Times
are medians, ratios are medians over rounds that alternate (machines are noisy: trust the ratios). A `+` after a commit
says that the files measured differed from it. Nothing here was measured on a GPU or an NPU yet.
The rows of kills ran beside other programs: their seconds say nothing, their counts do.
Facial priors were drawn beside other programs, too: their images/s are too low, their ratios hold.
Training steps of commits be3259b and older ran with GNU's default waiting of OpenMP's threads, later ones with
the project's own (utils/__init__.py).
The step of gpen_builtin waits for its one worker: degrading a face at 512 pixels takes longer there than learning
from it at 64. GPEN against the grouped form, and its step at 256 pixels, had one core; another training ran on the
other.
"""


def section(record):
    rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in record["rows"]]
    lines = [f"\n## {record['title']}\n", f"`{record['command']}`, commit {record['commit']}, {record['date']}\n",
             "| " + " | ".join(record["rows"][0]) + " |", "|" + "---|" * len(record["rows"][0])]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    records = [json.loads(path.read_text()) for path in sorted((FOLDER / "results").glob("*.json"))]
    (FOLDER / "RESULTS.md").write_text(HEAD + "".join(section(record) for record in records))
    print(f"{FOLDER / 'RESULTS.md'}: {len(records)} tables")


if __name__ == "__main__":
    main()
