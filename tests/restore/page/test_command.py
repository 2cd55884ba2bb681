# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""python -m restore.page: its options, how it starts, and how it ends."""
import re
import signal
import socket
import subprocess

import httpx
import pytest

from restore.page import __main__ as page
from restore.page.limits import Limits
from tests.helpers.page import photo_file
from tests.helpers.paths import ROOT
from tests.helpers.warm_python import warm_python
from utils.errors import UserError


def test_the_defaults_are_those_of_the_limits():
    options = page.parse_page([])
    assert options.limits == Limits() and list(options.weights) == ["face128", "face256"] and options.device == ["auto"]
    options = page.parse_page(["--max_mb", "500", "--keep_minutes", "2", "--device", "cuda:0,cuda:1"])
    assert options.limits.file_bytes == 500_000_000 and options.limits.waiting_bytes == 1_000_000_000
    assert options.limits.kept_seconds == 120 and options.device == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize("words, message", [
    (["--port", "65536"], "above 65535"), (["--host", ""], "empty"), (["--pretrained", "x"], "no such weights"),
    (["--pretrained", "sparnet", "--pth_path", "a"], "contradict"), (["--keep", "0"], "below 1"),
    (["--max_megapixels", "181"], "above 180"), (["x"], "unrecognized")])
def test_options_that_cannot_be_used(words, message):
    with pytest.raises(UserError, match=message) as error:
        page.parse_page(words)
    assert "\n" not in str(error.value)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None if name == "python_multipart" else name)
    with pytest.raises(UserError, match=r"needs python-multipart\. Install: pip install -r requirements-page.txt"):
        page.check_packages()


def test_addresses_that_cannot_be_served():
    with (socket.create_server(("127.0.0.1", 0)) as taken,
          pytest.raises(UserError, match=r"--port \d+: another program uses it")):
        page.bind("127.0.0.1", taken.getsockname()[1])
    for host in ("203.0.113.7", "no such host.invalid", "a" * 300, "a\u3002."):
        with pytest.raises(UserError, match="cannot serve there: "):
            page.bind(host, 0)


def test_the_address_holds_a_token_beyond_this_machine():
    assert page.page_address("127.0.0.1", 1, None) == "http://127.0.0.1:1/"
    assert page.page_address("::1", 1, None) == "http://[::1]:1/"
    assert page.page_address("0.0.0.0", 1, "abc") == f"http://{socket.gethostname()}:1/?token=abc"


def test_it_serves_until_a_signal():
    command = [warm_python(), "-m", "restore.page", "--host", "0.0.0.0", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"The page is at http://[^/]+:(\d+)/\?token=([\w-]+)\n", line)
            assert found, process.communicate()
            address, files = f"http://127.0.0.1:{found[1]}/restore", {"photo": photo_file()}
            answer = httpx.post(address, files=files, headers={"authorization": f"Bearer {found[2]}"}, timeout=60)
            assert answer.status_code == 200 and answer.content == files["photo"]  # no face in noise
            assert httpx.post(address, files=files, timeout=60).status_code == 401
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "") and rest.endswith("The page has ended.\n")
