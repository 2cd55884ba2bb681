# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The page's server: what it restores, and what it refuses, each in one sentence."""
import gc
import io
import re
import time
import weakref

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from restore.page import refusal
from restore.page.access import is_loopback
from restore.page.jobs import Jobs
from restore.page.limits import Limits
from restore.page.names import LONGEST, attachment, clean_name
from restore.page.server import PAGE, VIDEOS, Server
from tests.helpers.page import Gate, photo_file, stub, until
from utils.errors import UserError
from utils.images import BadImage

ADDRESS = "http://127.0.0.1:8017"
started = []


@pytest.fixture(autouse=True)
def ended():
    """Ends the threads of the queues that a test started."""
    yield
    while started:
        started.pop().close()


def client(*workers, limits=None, token=None, host="127.0.0.1", clock=None, **options):
    jobs = Jobs(workers or [stub], limits or Limits(), **({"clock": clock} if clock else {}))
    started.append(jobs)
    return TestClient(Server(jobs, host, token).app, base_url=ADDRESS, follow_redirects=False, **options), jobs


def send(page, content, to="/restore", name="a.png", headers=None, **options):
    return page.post(to, files={"photo": (name, content)}, data=options, headers=headers)


def test_a_program_gets_the_photo_and_its_report():
    page, jobs = client()
    content = photo_file("JPEG", quality=80)
    answer = send(page, content, name="Familie 家.jpg", upscale="2", fidelity="0.5", faces="largest", paste="crop",
                  angles="all")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == \
        "attachment; filename=\"Familie _.jpg\"; filename*=UTF-8''Familie%20%E5%AE%B6.jpg"
    with Image.open(io.BytesIO(answer.content)) as photo, Image.open(io.BytesIO(content)) as before:
        assert (photo.format, photo.size, photo.quantization) == ("JPEG", (80, 60), before.quantization)
    assert (answer.headers["x-faces-found"], answer.headers["x-faces-restored"]) == ("2", "1")
    report = page.get(answer.headers["x-report"]).json()
    assert report["file"] == "Familie 家.jpg" and [face["restored"] for face in report["faces"]] == [True, False]
    assert report["settings"] == {"upscale": 2, "paste": "crop", "fidelity": 0.5, "faces": "largest", "angles": "all"}
    assert jobs.counts()["queue"] == jobs.counts()["waiting_bytes"] == 0


def test_a_photo_without_faces_comes_back_byte_by_byte():
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "BMP")
    page, _ = client()
    assert send(page, file.getvalue()).content == file.getvalue()
    assert 'filename="photo"' in send(page, photo_file(), name="../").headers["content-disposition"]


def test_sixteen_bits_survive():
    content = cv2.imencode(".png", np.full((30, 40, 3), (300, 0, 65535), np.uint16))[1].tobytes()
    page, _ = client(lambda pixels, settings, enter: (pixels.repeat(2, 0).repeat(2, 1), []))
    number = send(page, content, "/jobs", upscale="2").json()["id"]
    until(lambda: page.get("/jobs", params={"id": number}).json()[number]["state"] == "done")
    restored = cv2.imdecode(np.frombuffer(page.get(f"/jobs/{number}/photo").content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert restored.dtype == np.uint16 and restored.shape == (60, 80, 3) and (restored == (300, 0, 65535)).all()
    with Image.open(io.BytesIO(page.get(f"/jobs/{number}/after.jpg").content)) as image:
        assert image.getpixel((9, 9)) == pytest.approx((255, 0, 1), abs=3)


def test_the_page_follows_a_photo_and_downloads_it():
    gate = Gate()
    page, jobs = client(gate)
    first = send(page, photo_file(), "/jobs").json()
    gate.wait()
    second = send(page, photo_file(seed=1), "/jobs", name="b.png").json()
    assert (second["state"], second["ahead"], second["name"]) == ("waiting", 0, "b.png")
    states = page.get("/jobs", params={"id": [first["id"], second["id"], "unknown"]}).json()
    assert [state["state"] for state in states.values()] == ["finding", "waiting", "forgotten"]
    assert page.get(f"/jobs/{first['id']}/photo").json()["code"] == "not_ready"
    gate.open.set()
    until(lambda: page.get("/jobs", params={"id": second["id"]}).json()[second["id"]]["state"] == "done")
    path = f"/jobs/{second['id']}"
    for what, kind in (("before.jpg", "JPEG"), ("after.jpg", "JPEG"), ("photo", "PNG")):
        with Image.open(io.BytesIO(page.get(f"{path}/{what}").content)) as image:
            assert (image.format, image.size) == (kind, (40, 30))
    assert page.get(f"{path}/nothing").status_code == 404
    assert page.delete(path).status_code == 204 and page.get(f"{path}/photo").json()["code"] == "unknown_photo"
    page.post("/jobs/remove", params={"id": [first["id"], "unknown"]})
    assert jobs.counts() == {"queue": 0, "waiting_bytes": 0, "known": 0, "kept_bytes": 0}


def test_a_photo_is_cancelled_while_it_waits_and_between_its_stages():
    gate = Gate()
    page, jobs = client(gate)
    running, waiting = (send(page, photo_file(), "/jobs").json()["id"] for _ in range(2))
    gate.wait()
    for number in (waiting, running):
        assert page.delete(f"/jobs/{number}").status_code == 204
    assert jobs.counts()["known"] == 1  # the one that is being restored ends with its stage
    gate.open.set()
    until(lambda: jobs.counts() == {"queue": 0, "waiting_bytes": 0, "known": 0, "kept_bytes": 0})


def test_photos_of_a_closed_page_are_cancelled_and_results_expire():
    gate, now = Gate(), [0.0]
    page, jobs = client(gate, clock=lambda: now[0], limits=Limits(kept=2, abandoned_seconds=100, kept_seconds=1000))
    running, waiting, other = (send(page, photo_file(), "/jobs").json()["id"] for _ in range(3))
    gate.wait()
    now[0] = 99
    assert page.get("/jobs", params={"id": other}).json()[other]["state"] == "waiting"
    now[0] = 150
    jobs.tidy()
    gate.open.set()
    until(lambda: jobs.counts()["queue"] == 0)
    states = page.get("/jobs", params={"id": [running, waiting, other]}).json()
    assert [state["state"] for state in states.values()] == ["forgotten", "forgotten", "done"]
    later = [send(page, photo_file()).headers["x-report"] for _ in range(3)]
    assert [page.get(report).status_code for report in later] == [404, 200, 200]  # the oldest went first
    now[0] = 1200
    assert page.get(later[2]).status_code == 404 and jobs.counts()["kept_bytes"] == 0


def test_bytes_of_results_are_bounded():
    size = len(photo_file())
    page, jobs = client(limits=Limits(kept_bytes=4 * size))
    jobs.tidy = lambda: None  # the limit holds whenever it runs
    for _ in range(12):
        assert send(page, photo_file()).status_code == 200
    assert 0 < jobs.counts()["kept_bytes"] <= 4 * size and jobs.counts()["known"] < 5


def test_the_result_that_came_first_goes_first():
    """Two devices: the photo that arrived first is done last, and is kept."""
    gate = Gate()
    jobs = Jobs([gate, stub], Limits(kept=2))
    started.append(jobs)
    page = TestClient(Server(jobs, "127.0.0.1").app, base_url=ADDRESS)
    ids = []

    def done(number):
        return page.get("/jobs", params={"id": number}).json()[number]["state"] == "done"
    while not gate.entered.acquire(blocking=False):  # the other device may take some before
        ids.append(send(page, photo_file(), "/jobs").json()["id"])
        time.sleep(0.01)
    until(lambda: jobs.counts()["queue"] == 1)
    slow, = [number for number in ids if page.get("/jobs", params={"id": number}).json()[number]["state"] == "finding"]
    later = [send(page, photo_file(), "/jobs").json()["id"] for _ in range(2)]
    until(lambda: all(map(done, later)))
    gate.open.set()
    until(lambda: done(slow))
    assert not done(later[0]) and done(later[1])


@pytest.mark.parametrize("options, sentence", [
    ({"upscale": "3"}, "The option upscale cannot be '3': it is 1 / 2 / 4."),
    ({"fidelity": "nan"}, "The option fidelity cannot be 'nan': it is 0 to 1."),
    ({"fidelity": "2"}, "The option fidelity cannot be '2': it is 0 to 1."),
    ({"upscal": "2"}, "There is no option upscal; there are upscale, paste, fidelity, faces, angles."),
    ({"faces": "x\n" * 40}, None), ({"faces": "x" * 5000}, None), ({"upscale": ["1", "2"]}, None),
    ({str(number): "1" for number in range(50)}, None)])
def test_wrong_options_are_one_sentence(options, sentence):
    page, jobs = client()
    answer = send(page, photo_file(), **options)
    assert answer.status_code == 400 and "\n" not in answer.json()["error"] and len(answer.json()["error"]) < 300
    assert sentence in (None, answer.json()["error"])
    assert jobs.counts()["queue"] == jobs.counts()["waiting_bytes"] == 0


def test_what_is_no_form_with_a_photo_is_refused():
    page, jobs = client()
    form = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\ncontent-disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    for status, arguments in (
            (415, {"content": photo_file(), "headers": {"content-type": "image/png"}}),
            (415, {"content": photo_file(), "headers": {"content-type": "multipart/form-datax; boundary=x"}}),
            (415, {"content": b""}), (415, {"data": {"photo": "x"}}), (400, {"content": b"", "headers": form}),
            (400, {"content": b"nothing", "headers": form}), (400, {"content": part + b"\r\n--x--", "headers": {
                "content-type": "multipart/form-data"}}),
            (400, {"content": part.replace(b'; filename="a"', b"") + b"a\r\n--x--", "headers": form}),
            (400, {"content": part + b"a\r\n" + part + b"a\r\n--x--", "headers": form}),
            (400, {"content": part.replace(b"form-data", b"x" * 9000) + b"a\r\n--x--", "headers": form}),
            (422, {"content": part + b"a\r\n--x--\r\n", "headers": form}),
            (422, {"content": part + b"\r\n--x--\r\n", "headers": form})):
        answer = page.post("/restore", **arguments)
        assert answer.status_code == status and "\n" not in answer.json()["error"], (arguments, answer.text)
    assert jobs.counts() == {"queue": 0, "waiting_bytes": 0, "known": 2, "kept_bytes": 0}
    for method, path in (("GET", "/restore"), ("PUT", "/jobs"), ("GET", "/nothing"), ("GET", "/jobs/"),
                         ("GET", "/../../etc/passwd"), ("GET", "/jobs/%2e%2e/photo"), ("GET", "/jobs/a%00b/photo")):
        answer = page.request(method, path)
        assert answer.status_code in (404, 405) and answer.json()["error"]


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    file = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(file, "PNG")  # 25 kB
    decoded = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: decoded.append(image.size))
    page, _ = client()
    answer = send(page, file.getvalue())
    assert (answer.status_code, answer.json()["code"], decoded) == (422, "large_photo", [])
    assert answer.json()["error"] == "The photo would have 169.0 megapixels; at most 64.0 are restored."
    bomb = file.getvalue().replace(b"\x00\x00\x32\xc8" * 2, b"\x7f\xff\xff\xff" * 2)
    assert send(page, bomb).status_code == 422 and decoded == []
    page, _ = client(limits=Limits(pixels=2000))
    assert send(page, photo_file(), upscale="2").json()["code"] == "large_photo"


def test_damaged_photos_and_those_that_could_only_be_kept_in_part_are_refused():
    page, _ = client()
    frames = io.BytesIO()
    Image.new("L", (9, 9)).save(frames, "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 9)])
    for content in (photo_file()[:-200], frames.getvalue(), b"GIF89a", b"<svg/>", photo_file("JPEG")[:50]):
        answer = send(page, content)
        assert answer.status_code == 422 and answer.json()["code"] == "bad_photo", answer.text
        assert answer.json()["error"].startswith("The photo cannot be restored: ")


def test_an_error_of_the_program_is_one_sentence_and_the_next_photo_is_restored(capsys):
    fails = [RuntimeError("secret"), MemoryError(), RuntimeError("CUDA out of memory")]

    def restore(pixels, settings, enter):
        if fails:
            raise fails.pop(0)
        return stub(pixels, settings, enter)
    page, _ = client(restore)
    answers = [send(page, photo_file()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [500, 507, 507, 200]
    assert "secret" not in answers[0].text and "secret" in capsys.readouterr().err


def test_a_refused_photo_holds_no_memory():
    """An exception that is kept would hold its frames, and these the pixels."""
    pictures = []

    def restore(pixels, settings, enter):
        pictures.append(weakref.ref(pixels))
        raise [BadImage("a", "it is odd"), UserError("it is odd"), RuntimeError("odd")][len(pictures) - 1]
    page, jobs = client(restore)
    for _ in range(3):
        send(page, photo_file())
    gc.collect()
    assert jobs.counts()["known"] == 3 and [picture() for picture in pictures] == [None] * 3


def test_a_full_queue_says_so_and_many_devices_share_it():
    gate = Gate()
    page, jobs = client(gate, gate, limits=Limits(queue=3))
    numbers = [send(page, photo_file(), "/jobs").json()["id"] for _ in range(3)]
    gate.wait()
    gate.wait()
    answer = send(page, photo_file(), "/jobs")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "busy", "2")
    gate.open.set()
    until(lambda: jobs.counts()["queue"] == 0)
    assert {state["state"] for state in page.get("/jobs", params={"id": numbers}).json().values()} == {"done"}
    jobs.close(5)
    assert send(page, photo_file()).json()["code"] == "closing"


@pytest.mark.parametrize("given, cleaned", [
    ("../../etc/passwd.png", "passwd.png"), ("C:\\photos\\a.jpg", "a.jpg"), ("a\0b\x1b[2J\r\n.png", "ab[2J.png"),
    ("gnp.\u202eexe", "gnp.exe"), ("..", "photo"), ("", "photo"), ("/", "photo"), (" .hidden", "hidden"),
    ("e\u0301.png", "\u00e9.png"), ("家.jpg", "家.jpg"), ("a\udcff.png", "a.png"), ("a" * 5000, "a" * LONGEST),
    ("x." + "y" * 5000, ("x." + "y" * 5000)[:LONGEST])])
def test_names_are_cleaned(given, cleaned):
    assert clean_name(given) == cleaned


def test_long_names_keep_their_ending_and_headers_hold_any_name():
    name = clean_name("家" * 500 + ".jpeg")
    assert name.endswith("家.jpeg") and LONGEST - 3 < len(name.encode()) <= LONGEST
    assert attachment('a"b;c\\d%.png') == \
        "attachment; filename=\"a_b_c_d_.png\"; filename*=UTF-8''a%22b%3Bc%5Cd%25.png"
    page, _ = client()
    part = b'--x\r\ncontent-disposition: form-data; name="photo"; filename="../\xff\xfe\xe5\xae\xb6.png"\r\n\r\n'
    answer = page.post("/restore", content=part + photo_file() + b"\r\n--x--\r\n",
                       headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 200 and "/" not in answer.headers["content-disposition"].partition("''")[2]


@pytest.mark.parametrize("headers, code", [
    ({"host": "evil.example"}, "wrong_host"), ({"host": "evil.example:8017"}, "wrong_host"),
    ({"host": "["}, "wrong_host"),
    ({"host": "127.0.0.1.evil.example"}, "wrong_host"), ({"host": ""}, "wrong_host"),
    ({"origin": "http://evil.example"}, "other_site"), ({"origin": "null"}, "other_site"),
    ({"origin": "http://127.0.0.1:9000"}, "other_site"), ({"origin": "http://["}, "other_site"),
    ({"sec-fetch-site": "cross-site"}, "other_site"), ({"sec-fetch-site": "same-site"}, "other_site")])
def test_other_sites_reach_nothing(headers, code):
    page, jobs = client()
    for answer in (send(page, photo_file(), headers=headers), page.get("/jobs", headers=headers),
                   page.delete("/jobs/x", headers=headers)):
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert "access-control-allow-origin" not in answer.headers
    assert jobs.counts()["known"] == 0


@pytest.mark.parametrize("headers", [
    {"origin": ADDRESS, "sec-fetch-site": "same-origin"}, {"host": "localhost:8017", "origin": "http://localhost:8017"},
    {"host": "[::1]:8017"}, {"sec-fetch-site": "none"}, {}])
def test_the_own_page_and_programs_reach_it(headers):
    assert send(client()[0], photo_file(), headers=headers).status_code == 200


def test_a_link_of_another_site_may_open_the_page_only():
    page, _ = client()
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert page.get("/", headers=headers).status_code == 200
    assert page.get("/limits", headers=headers).status_code == 403


def test_every_address_needs_the_token():
    page, jobs = client(token="the-token", host="0.0.0.0")
    for answer in (page.get("/"), page.get("/?token=wrong"), page.get("/?token="), page.get("/?token=%ff"),
                   page.get("/limits?token=the-token"), page.get("/jobs"), send(page, photo_file()),
                   page.get("/", headers={"cookie": "restore_page_8017=x; ="}),
                   page.get("/", headers={"authorization": "Bearer the-toke"}),
                   page.get("/", headers={"authorization": "Basic the-token"})):
        assert answer.status_code == 401 and "token" in answer.text, answer.url
    assert jobs.counts()["known"] == 0
    allowed = {"authorization": "Bearer the-token", "host": "any.name"}
    stale = allowed | {"cookie": "restore_page_8017=old"}  # of an earlier start of the program
    assert [send(page, photo_file(), headers=headers).status_code for headers in (allowed, stale)] == [200, 200]
    assert send(page, photo_file(), headers=allowed | {"origin": "http://evil.example"}).status_code == 403
    answer = page.get("/?token=the-token")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert page.get("/").status_code == 200  # the client keeps the cookie


def test_a_wrong_method_is_named():
    page, _ = client()
    answer = page.get("/restore")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"] == "This address does not take GET; it takes POST."
    answer = page.put("/jobs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


def test_a_video_is_sent_to_the_command():
    page, jobs = client()
    answer = send(page, b"anything", name="Birthday.MOV")
    assert (answer.status_code, answer.json()["code"]) == (422, "video")
    assert "python newphoto.py VIDEO" in answer.json()["error"]
    assert jobs.counts()["queue"] == jobs.counts()["waiting_bytes"] == 0


def test_every_answer_has_the_headers_of_security():
    page, _ = client()
    for answer in (page.get("/"), page.get("/nothing"), send(page, photo_file()), page.get("/", headers={"host": "x"})):
        headers = answer.headers
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "frame-ancestors 'none'" in headers["content-security-policy"] and headers["cache-control"] == "no-store"
        assert "http" not in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
        assert "server" not in headers


def test_the_page_knows_videos_by_the_names_that_the_server_knows():
    page = PAGE.read_text(encoding="utf-8")
    names = re.search(r"const VIDEO = /\\\.\((.*)\)\$/i;", page)[1]
    assert {f".{name}" for name in names.split("|")} == VIDEOS
    sentence = re.search(r'const VIDEO_EN = "(.*)" \+\n  "(.*)";', page)
    assert sentence[1] + sentence[2] == refusal.REFUSALS["video"][1]


def test_the_page_says_every_refusal_in_both_languages():
    page = PAGE.read_text(encoding="utf-8")
    known = dict(re.findall(r'(\w+): "([^"]*)"', page.partition("REFUSED_ZH = {")[2].partition("\n};")[0]))
    assert known.keys() == refusal.REFUSALS.keys()
    for code, (_, english) in refusal.REFUSALS.items():
        assert set(re.findall(r"{\w+}", english)) >= set(re.findall(r"{\w+}", known[code])), code
    texts = page.partition("const TEXT")[2].partition("\n};")[0]
    keys = [re.findall(r"(?:^|[ ,])(\w+): \"", texts[texts.index(f"  {name}: {{"):].partition("\n  },")[0])
            for name in ("en", "zh")]
    assert keys[0] == keys[1] and len(keys[0]) > 40
    assert set(re.findall(r'data-t="(\w+)"', page)) <= set(keys[0])
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page)


def test_hosts_of_this_machine():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "x", "")))
