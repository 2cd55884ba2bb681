# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""A Python that starts at once: it forks a server that has already imported torch and other slow modules.

`warm_python()` returns the path of a program that replaces sys.executable in a test's command; its name is python3, so
that scripts find it on PATH. The program sends its arguments, working directory, environment and streams to the server
and forwards signals. It ends with the fork's exit status or signal; if it is killed, the fork is killed, too. Each fork
imports the project's own modules itself, so that a copy of the checkout runs its own code.

A fork differs from a new Python in what is fixed at start: ulimits, variables that torch reads during import, and the
locale's encoding; its parent is the server. Tests of such things start sys.executable instead.

All pytest workers share one server; the first worker that needs it starts it. tests/conftest.py sets its folder in the
environment and removes the folder at the end.
"""
import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

FOLDER = "TESTS_WARM_PYTHON"  # environment variable with the server's folder
PRELOADED = ("torch", "torch._dynamo", "torch.distributed.nn.functional", "torch.distributed.run", "torch.utils.data",
             "tensorboardX", "matplotlib.pyplot", "scipy.ndimage", "scipy.linalg", "cv2", "PIL.Image", "yaml",
             "safetensors.torch", "skimage.transform._geometric", "filelock")

CLIENT = """
import contextlib, json, os, signal, socket, sys
python, path, *words = sys.argv[1:]
rest = [word for word in words if word not in ("-u", "-B")]
if not rest or rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
    os.execv(python, [python, *words])
link = socket.socket(socket.AF_UNIX)
link.connect(path)
passed_on = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
ignored = [n for n in passed_on if signal.getsignal(n) == signal.SIG_IGN]
request = json.dumps({"words": words, "cwd": os.getcwd(), "env": dict(os.environ), "ignored": ignored}).encode()
socket.send_fds(link, [len(request).to_bytes(8, "big")], [0, 1, 2])
link.sendall(request)
def pass_on(number, frame):
    with contextlib.suppress(OSError):  # the fork has ended
        link.send(bytes([number]))
for number in set(passed_on) - set(ignored):
    signal.signal(number, pass_on)
status = link.recv(4)
if not status:
    sys.exit("the server of tests/helpers/warm_python.py has ended")
status = int.from_bytes(status, "big", signed=True)
if status < 0:
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


def warm_python():
    """Returns the program's path as a str; starts the server if it does not run yet."""
    folder = Path(os.environ[FOLDER])
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "socket").exists():
            (folder / "client.py").write_text(CLIENT)
            program = folder / "python3"
            program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -IS '{folder}/client.py' '{sys.executable}' "
                               f"'{folder}/socket' \"$@\"\n")
            program.chmod(0o755)
            with open(folder / "server.log", "w") as log:
                server = subprocess.Popen([sys.executable, __file__, str(folder), os.environ[f"{FOLDER}_OWNER"]],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            while not (folder / "socket").exists():
                assert server.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.05)
    return str(folder / "python3")


def forked_pid(process):
    """Waits until the fork of a Popen of warm_python() runs; returns its pid."""
    path = Path(os.environ[FOLDER]) / f"{process.pid}.pid"
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
    return int(path.read_text())


# -- the server -----------------------------------------------------------------------------------------------------

def serve(folder, owner):
    """Serves requests until the process `owner` has ended."""
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"  # as utils/__init__.py sets it
    os.environ["MPLBACKEND"] = "Agg"
    for name in PRELOADED:
        importlib.import_module(name)
    sys.modules["PIL.Image"].init()  # its plugins
    draw_curves()
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "unready"))
    listener.listen(64)
    (folder / "unready").rename(folder / "socket")
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while alive(owner):
        for key, _ in selector.select(5):
            if key.fileobj is listener:
                link = listener.accept()[0]
                try:
                    pid, note = start(link, folder)
                except ConnectionError:  # the client was killed
                    link.close()
                    continue
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, link, note))
                selector.register(link, selectors.EVENT_READ, pid)
            elif isinstance(key.data, tuple):  # a fork has ended
                pid, link, note = key.data
                note.unlink(missing_ok=True)  # a later client may have the same pid, which names this file
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(OSError):
                    link.sendall(status.to_bytes(4, "big", signed=True))
                selector.unregister(key.fileobj)
                os.close(key.fileobj)
                with contextlib.suppress(KeyError):
                    selector.unregister(link)
                link.close()
            elif key.fileobj.fileno() >= 0:  # else its fork has ended among these events, and closed it
                numbers = receive(key.fileobj)
                for number in numbers or [signal.SIGKILL]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(key.data, number)
                if not numbers:  # the client has ended
                    selector.unregister(key.fileobj)


def draw_curves():
    """Fills matplotlib's caches of fonts and its parser of formulas, which every training needs for its curves."""
    figure, axes = sys.modules["matplotlib.pyplot"].subplots(subplot_kw={"yscale": "log"})
    axes.plot([1, 2], [1, 2], label="x")
    axes.legend()
    figure.savefig(io.BytesIO())
    sys.modules["matplotlib.pyplot"].close(figure)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def receive(link):
    try:
        return link.recv(64)
    except OSError:
        return b""


def start(link, folder):
    """Forks the program that the client of `link` requests; returns the fork's pid and the file that contains it.

    Raises ConnectionError if the client ends before it has sent its request.
    """
    head, streams, _, _ = socket.recv_fds(link, 8, 3)
    size, text = int.from_bytes(head, "big"), b""
    while part := head and link.recv(size - len(text)):
        text += part
    if not head or len(text) < size:
        for stream in streams:
            os.close(stream)
        raise ConnectionError
    request = json.loads(text)
    client, _, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    pid = os.fork()
    if pid == 0:
        try:
            be_python(request, streams, str(folder / "python3"))
        finally:
            os._exit(1)
    for stream in streams:
        os.close(stream)
    unready = folder / f"{client}.unready"
    unready.write_text(str(pid))
    return pid, unready.rename(folder / f"{client}.pid")


# -- a fork ---------------------------------------------------------------------------------------------------------

def be_python(request, streams, executable):
    """Runs the request as `python3 *words` would, then ends the process."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 4096)  # the server's file descriptors
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    words = request["words"]
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    while words[0] in ("-u", "-B"):
        unbuffered = unbuffered or words[0] == "-u"
        del words[0]
    out, err = (io.FileIO(number, "w", closefd=False) for number in (1, 2))
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(out if unbuffered else io.BufferedWriter(out), encoding="utf-8",
                                                   write_through=unbuffered)
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace",
                                                   write_through=True)
    sys.executable = executable
    import torch
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count()))
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first = os.path.dirname(os.path.abspath(words[0])) if words[0] not in ("-m", "-c") else os.getcwd()
    sys.path[:1] = [first, *paths]  # replaces the server's own folder
    status = 0
    try:
        try:
            run(words)
        finally:
            threading._shutdown()
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            status = (end.code or 0) & 0xFF
        else:
            print(end.code, file=sys.stderr)
            status = 1
    except BaseException as error:
        traceback.print_exc()
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def run(words):
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
