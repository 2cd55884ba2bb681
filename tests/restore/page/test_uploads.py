# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Uploads over real connections: endless, slow, broken off, and many at the same time."""
import gc
import json
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from restore.page.jobs import Job
from restore.page.limits import Limits
from tests.helpers.page import Gate, photo_file, serving, until

HEAD = (b"POST /restore HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=x\r\n%s\r\n\r\n")
PART = b'--x\r\ncontent-disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
EMPTY = {"queue": 0, "waiting_bytes": 0, "known": 0, "kept_bytes": 0}


def connected(address):
    return socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), 60)


def answer(link):
    """Returns (status, record) of the answer, once the server has closed the connection."""
    received = b""
    while part := link.recv(65536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def chunk(content):
    return b"%x\r\n%s\r\n" % (len(content), content)


@pytest.fixture
def no_files(monkeypatch):
    """Uploads never touch a disk: no temporary file is made."""
    def refuse(*arguments, **options):
        raise AssertionError("a temporary file")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)


def test_an_endless_upload_is_cut_off(no_files):
    with serving(limits=Limits(file_bytes=300_000)) as (address, jobs), connected(address) as link:
        link.sendall(HEAD % b"transfer-encoding: chunked" + chunk(PART))
        sent = 0
        with pytest.raises(OSError):
            while True:  # until the server closes the connection
                link.sendall(chunk(bytes(10_000)))
                sent += 10_000
                assert sent < 100_000_000
        assert jobs.counts() == EMPTY


def test_a_large_upload_is_refused_before_it_is_sent():
    with serving(limits=Limits(file_bytes=300_000)) as (address, jobs):
        for length in (b"400000", b"9" * 18):
            with connected(address) as link:
                link.sendall(HEAD % (b"expect: 100-continue\r\ncontent-length: " + length))
                status, record = answer(link)
            assert (status, record["code"]) == (413, "large_file")
        with connected(address) as link:  # just above, without a length
            link.sendall(HEAD % b"transfer-encoding: chunked" + chunk(PART + bytes(300_001) + b"\r\n--x--\r\n")
                         + b"0\r\n\r\n")
            status, record = answer(link)
        assert (status, record["error"]) == (413, "The file is larger than 0 MB.")
        assert jobs.counts() == EMPTY


def test_a_slow_upload_is_cut_off_and_others_go_on():
    with serving(limits=Limits(idle_seconds=4, upload_seconds=6)) as (address, jobs):
        with connected(address) as silent, connected(address) as slow:
            for link in (silent, slow):
                link.sendall(HEAD % b"content-length: 5000" + PART)
            until(lambda: jobs.counts()["queue"] == 2)
            files = {"photo": photo_file()}
            assert httpx.post(f"{address}/restore", files=files, timeout=60).status_code == 200
            slow.settimeout(0.1)
            received = b""
            while not received:
                slow.sendall(b"a")
                try:
                    received = slow.recv(65536)
                except TimeoutError:
                    continue
            assert b" 408 " in received.splitlines()[0]
            assert answer(silent)[1]["code"] == "slow_upload"
        assert jobs.counts()["queue"] == jobs.counts()["waiting_bytes"] == 0


def test_uploads_together_are_bounded_and_one_that_breaks_off_leaves_nothing():
    with serving(limits=Limits(waiting_bytes=100_000)) as (address, jobs):
        with connected(address) as first:
            first.sendall(HEAD % b"content-length: 200000" + PART + bytes(60_000))
            until(lambda: jobs.counts()["waiting_bytes"] > 60_000)
            with connected(address) as second:
                second.sendall(HEAD % b"content-length: 200000" + PART + bytes(60_000))
                assert answer(second)[1]["code"] == "busy"
        until(lambda: jobs.counts() == EMPTY)


def test_a_program_that_goes_away_cancels_its_photo(monkeypatch):
    gate = Gate()
    with serving(gate) as (address, jobs):
        cancel, cancelled = jobs.cancel, []
        monkeypatch.setattr(jobs, "cancel", lambda photo_id: cancelled.append(cancel(photo_id)))
        body = PART + photo_file() + b"\r\n--x--\r\n"
        with connected(address) as running, connected(address) as waiting:
            for link in (running, waiting):
                link.sendall(HEAD % b"content-length: %d" % len(body) + body)
            gate.wait()
            until(lambda: jobs.counts()["known"] == 2)
        until(lambda: len(cancelled) == 2)  # the server may notice the second one later
        assert jobs.counts()["known"] == 1  # the one that is being restored ends with its stage
        gate.open.set()
        until(lambda: jobs.counts() == EMPTY)


def test_the_end_of_the_server_answers_what_waits():
    gate = Gate()
    with serving(gate) as (address, jobs), ThreadPoolExecutor(1) as pool:
        def post():
            return httpx.post(f"{address}/restore", files={"photo": photo_file()}, timeout=60)
        running = pool.submit(post)
        gate.wait()
        assert not jobs.close()  # its thread is still at work
        assert running.result().json()["code"] == "closing"
        gate.open.set()
        until(lambda: jobs.counts() == EMPTY)


def test_two_hundred_requests_of_eight_clients_are_all_answered_and_memory_stays_flat():
    limits = Limits(kept=20, queue=16)
    with serving(limits=limits) as (address, jobs), httpx.Client(timeout=60) as client, ThreadPoolExecutor(8) as pool:
        def post(seed):
            size = 40 + seed % 7, 30
            return client.post(f"{address}/restore", files={"photo": (f"{seed}.png", photo_file(size=size, seed=seed))})

        def held():
            gc.collect()
            objects = gc.get_objects()
            return len(objects), sum(type(thing) is Job for thing in objects)
        others = held()[1]  # of other tests of this process
        warm = list(pool.map(post, range(40)))
        before, _ = held()
        answers = list(pool.map(post, range(200)))
        names = [answer.headers["content-disposition"].partition("''")[2] for answer in answers]
        assert {answer.status_code for answer in warm + answers} == {200}
        assert names == [f"{seed}.png" for seed in range(200)]  # each got its own
        answers.clear()
        after, photos = held()
        assert jobs.counts()["known"] == photos - others == 20
        assert jobs.counts()["queue"] == jobs.counts()["waiting_bytes"] == 0
        assert after - before < 2000  # ten for each photo would be as many
