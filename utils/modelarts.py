"""Runs a script of test/ as a ModelArts job, for modelarts_entry_acc.py and modelarts_entry_perf.py."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
LISTED = 20  # inputs named in the job's log


def run_job(script, argv):
    """Runs test/`script` on --data_url with results in --train_url. Returns the training's exit status.

    Other arguments in `argv` are passed to the script, which rejects unknown ones. On ModelArts (MODELARTS_MODEL_PATH
    is set), test/output is also copied to --train_url, even if the training failed.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=f"Run test/{script} as a ModelArts job.",
        epilog=f"Other arguments, --name=value or --name value, are those of test/{script}; relative paths "
               f"among them are relative to the code folder.")
    parser.add_argument("--data_url", default="/home/ma-user/modelarts/inputs/data_url_0", help="folder of faces")
    parser.add_argument("--train_url", default="/home/ma-user/modelarts/outputs/train_url_0/",
                        help="folder for the results")
    options, others = parser.parse_known_args(argv)
    data, results = os.path.abspath(options.data_url), os.path.abspath(options.train_url)
    os.chdir(CODE)
    list_inputs(data)
    make_line_ends_unix(CODE / "test")
    status = run(["bash", f"test/{script}", f"--data_path={data}", f"--output_path={results}",
                  *join_pairs(others)])
    if "MODELARTS_MODEL_PATH" in os.environ:
        try:
            shutil.copytree("test/output", results, dirs_exist_ok=True)
            print(f"Results: {results}", flush=True)
        except OSError as error:
            print(f"error: cannot copy test/output to {results}: {error}", file=sys.stderr)
            return status or 1
    return status


def list_inputs(folder):
    """Prints the first names in `folder`; 'none' for a missing folder, which the training reports as an error."""
    names = [entry.name for entry in islice(os.scandir(folder), LISTED + 1)] if os.path.isdir(folder) else []
    print(f"Inputs in {folder}: {', '.join(sorted(names[:LISTED])) or 'none'}"
          f"{', ...' if len(names) > LISTED else ''}", flush=True)


def make_line_ends_unix(folder):
    """Converts CRLF to LF in the folder's shell scripts, for code that was copied from Windows."""
    for path in folder.glob("*.sh"):
        content = path.read_bytes()
        if b"\r" in content:
            path.write_bytes(content.replace(b"\r\n", b"\n"))


def join_pairs(arguments):
    """Converts ['--a', '1', '--b=2'] to ['--a=1', '--b=2'], the only form that the scripts accept."""
    joined = []
    for argument in arguments:
        if joined and not argument.startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def run(command):
    """Runs `command` with this interpreter first in PATH; forwards SIGTERM and Ctrl-C. Returns its exit status."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    # A separate session: otherwise Ctrl-C would reach the child twice, from the terminal and from the handler.
    child = subprocess.Popen(command, env={**os.environ, "PATH": path}, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: child.send_signal(received))
    status = child.wait()
    return status if status >= 0 else 128 - status
