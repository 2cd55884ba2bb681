# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Serves a page in the browser that restores the faces in photos.

    python -m restore.page [--host 127.0.0.1] [--port 8017]

Only this machine reaches it, unless --host says otherwise; the address that is printed then holds a token. Photos are
kept in memory only, and forgotten when the page is closed. docs/photos.md describes POST /restore, for programs.
"""
from __future__ import annotations

import errno
import os
import secrets
import socket
import sys
import webbrowser
from importlib.util import find_spec

from restore.choice import AUTO
from restore.page.limits import MB, Limits
from restore.photo_weights import photo_names, photo_weights
from utils import signals
from utils.errors import UserError, run_main
from utils.option_types import at_least, list_of, text, tool_parser
from utils.started_by import end_with_starters

PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
PORT = 8017
CONNECTIONS = 256
GRACE = 1  # seconds for answers that are being sent, and for a photo's stage, when the program is asked to end


def page_parser():
    """Returns the parser of the page's options."""
    usual = Limits()
    parser = tool_parser(__doc__)
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to serve at; 0.0.0.0 for the network; default: %(default)s")
    parser.add_argument("--port", type=at_least(0, largest=65535), default=PORT,
                        help="port; 0 takes a free one; default: %(default)s")
    parser.add_argument("--open", action="store_true", help="also open the page in the browser; default: no")
    parser.add_argument("--pretrained", default=None,
                        help=f"weights that ship with the project: {', '.join(photo_names())}; or {AUTO}: for "
                             f"each face those that fit its size; default: {AUTO}")
    parser.add_argument("--pth_path", default=None,
                        help="own weights, in place of --pretrained: .safetensors, .pth with its options.yml beside "
                             "it, or an .onnx file of newexport.py; default: none")
    parser.add_argument("--device", type=list_of(text), default=["auto"],
                        help="device to compute on: auto, npu, cuda or cpu; several cards, which restore photos side "
                             "by side, are named with commas: cuda:0,cuda:1; default: auto")
    parser.add_argument("--max_mb", type=at_least(1, largest=2000), default=usual.file_bytes // MB,
                        help="largest file of a photo in MB; default: %(default)s")
    parser.add_argument("--max_megapixels", type=at_least(1, largest=180), default=usual.pixels // MB,
                        help="most megapixels of a photo, also of an enlarged one; default: %(default)s")
    parser.add_argument("--queue", type=at_least(1, largest=10_000), default=usual.queue,
                        help="photos that may be uploaded, wait and be restored at the same time; default: %(default)s")
    parser.add_argument("--keep", type=at_least(1, largest=100_000), default=usual.kept,
                        help="restored photos that are kept in memory; default: %(default)s")
    parser.add_argument("--keep_mb", type=at_least(1, largest=1_000_000), default=usual.kept_bytes // MB,
                        help="MB that they may take together; default: %(default)s")
    parser.add_argument("--keep_minutes", type=at_least(1, largest=10_000), default=round(usual.kept_seconds / 60),
                        help="minutes until a restored photo is forgotten that nobody asks for; default: %(default)s")
    return parser


def parse_page(argv):
    """Returns the options, with `weights`: {name: path} and `limits`. Raises UserError for what cannot be used."""
    options = page_parser().parse_args(argv)
    options.weights = photo_weights(options.pretrained, options.pth_path)
    file_bytes = options.max_mb * MB
    options.limits = Limits()._replace(
        file_bytes=file_bytes, pixels=options.max_megapixels * MB, queue=options.queue, kept=options.keep,
        waiting_bytes=max(Limits().waiting_bytes, 2 * file_bytes), kept_bytes=options.keep_mb * MB,
        kept_seconds=60.0 * options.keep_minutes)
    return options


def check_packages():
    """Raises UserError if a package of the page is not installed."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"the page needs {', '.join(missing)}. Install: pip install -r requirements-page.txt")


def bind(host, port):
    """Returns (a socket that listens, its port). Raises UserError, with the reason, if that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                      flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise UserError(f"--port {port}: another program uses it. Choose another one, or 0 for a free one.",
                            1) from None
        raise UserError(f"--host {host} --port {port}: cannot serve there: "
                        f"{getattr(error, 'strerror', None) or error}.", 1) from None
    return listener, listener.getsockname()[1]


def main():
    end_with_starters()
    options = parse_page(sys.argv[1:])
    check_packages()
    listener, port = bind(options.host, options.port)  # before the weights are loaded, which takes seconds
    with listener:
        return serve(options, listener, port)


def serve(options, listener, port):
    """Serves until a signal; returns the exit status."""
    import uvicorn  # not at the top: it may be missing, and torch takes seconds to import

    from restore.page.access import is_loopback
    from restore.page.jobs import Jobs
    from restore.page.photo_worker import PhotoWorker
    from restore.page.server import Server
    from restore.photo_weights import load_photo_weights
    token = None if is_loopback(options.host) else secrets.token_urlsafe(24)
    jobs = Jobs([PhotoWorker(load_photo_weights(options.weights, device)) for device in options.device],
                options.limits)

    class Page(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            address = page_address(options.host, port, token)
            print(f"The page is at {address}\nCtrl-C ends it.", flush=True)
            if options.open and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
                                 or not sys.platform.startswith("linux")):
                webbrowser.open(address)

        async def shutdown(self, sockets=None):
            jobs.close()  # answers what waits for a photo
            await super().shutdown(sockets)

    page = Page(uvicorn.Config(
        Server(jobs, options.host, token).app, loop="asyncio", http="h11", ws="none", lifespan="on",
        log_level="critical", access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=GRACE))
    with signals.handling(page.handle_exit):  # also of SIGHUP; uvicorn sends itself the signal again at the end
        page.run([listener])
    print("The page has ended.", flush=True)
    if not jobs.close(GRACE):  # a network still computes, and Python cannot stop a thread
        sys.stdout.flush()
        os._exit(0)
    return 0


def page_address(host, port, token):
    """Returns the address to open; for a server on all of this machine's addresses, with this machine's name."""
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    shown_host = f"[{host}]" if ":" in host else host
    return f"http://{shown_host}:{port}/" + (f"?token={token}" if token else "")


if __name__ == "__main__":
    run_main(main)
