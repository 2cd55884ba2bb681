"""What modelarts_entry_acc.py and modelarts_entry_perf.py do: run a script of test/ as a job of ModelArts."""
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
    """Run test/`script` on --data_url, results into --train_url; the exit status of the training.

    Other arguments in `argv` go on to the script, which refuses those it does not know. On the platform
    (MODELARTS_MODEL_PATH is set) what the script wrote into test/output is copied to --train_url as well, after
    a failed training too.
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
    """Print the first names in `folder`; a missing folder is left to the training to complain of."""
    names = [entry.name for entry in islice(os.scandir(folder), LISTED + 1)] if os.path.isdir(folder) else []
    print(f"Inputs in {folder}: {', '.join(sorted(names[:LISTED])) or 'none'}"
          f"{', ...' if len(names) > LISTED else ''}", flush=True)


def make_line_ends_unix(folder):
    """Mend the shell scripts of a code folder that went through Windows."""
    for path in folder.glob("*.sh"):
        content = path.read_bytes()
        if b"\r" in content:
            path.write_bytes(content.replace(b"\r\n", b"\n"))


def join_pairs(arguments):
    """['--a', '1', '--b=2'] -> ['--a=1', '--b=2'], the only form that the scripts read."""
    joined = []
    for argument in arguments:
        if joined and not argument.startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def run(command):
    """The exit status of `command`, run with this interpreter first in PATH; SIGTERM and Ctrl-C go on to it."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    # A session of its own: Ctrl-C, which a terminal sends to all, would reach it twice.
    child = subprocess.Popen(command, env={**os.environ, "PATH": path}, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: child.send_signal(received))
    status = child.wait()
    return status if status >= 0 else 128 - status
