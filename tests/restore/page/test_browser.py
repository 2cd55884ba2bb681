# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The page in a headless Chromium: what a person sees and does."""
import base64
import contextlib
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from restore.face_finder import FaceFinder
from restore.page.limits import Limits
from restore.page.photo_worker import PhotoWorker
from restore.page.settings import Settings
from restore.restorer import Restorer
from tests.helpers.page import Gate, photo_file, serving, stub, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60_000  # milliseconds that a step may take on a slow machine


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def served():
    """Returns `serving`, to call without `with`: the server ends after the pages of `visit`, which keep asking it."""
    with contextlib.ExitStack() as running:
        yield lambda *workers, **options: running.enter_context(serving(*workers, **options))


@pytest.fixture
def visit(chromium, served):
    """Returns visit(address, **options of the browser) -> page; errors and requests elsewhere fail the test."""
    contexts, wrong = [], []

    def open_page(address, expected_errors=(), **options):
        context = chromium.new_context(**{"locale": "en-US", **options})
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning")
                and not any(text in message.text for text in expected_errors) else None)
        page.on("request", lambda request: wrong.append(request.url)
                if not request.url.startswith((address.partition("?")[0], "data:")) else None)
        page.goto(address)
        return page
    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def photo(name, content):
    return {"name": name, "mimeType": "image/png", "buffer": content}


def wait_for(page, state, count=1):
    page.locator(f"#photos > li[data-state={state}]").nth(count - 1).wait_for()


def downloaded(page, card):
    with page.expect_download() as found:
        card.get_by_role("link").click()
    return found.value.suggested_filename, found.value.path().read_bytes()


def test_a_photo_from_drop_to_download(served, visit, monkeypatch):
    """With the shipped weights: the astronaut's file is what PhotoWorker gives."""
    from tools.photo_example import small_astronaut
    file = io.BytesIO()
    Image.fromarray(small_astronaut()).save(file, "PNG")
    worker = PhotoWorker({"face128": Restorer.load("face128", "cpu")})
    address, _ = served(worker)
    page = visit(address)
    page.evaluate("""content => {
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "my photo 家.png", {type: "image/png"}));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    }""", base64.b64encode(file.getvalue()).decode())
    wait_for(page, "done")
    card = page.locator("#photos > li")
    assert card.locator(".status").inner_text() == "Faces restored: 1 of 1"
    assert page.locator("#said").inner_text() == "my photo 家.png: Faces restored: 1 of 1"

    slider = card.get_by_role("slider", name="Divider between before and after: my photo 家.png")
    after = card.locator("img.after")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "40 % of the width shows the photo before"
    assert after.evaluate("image => image.style.clipPath") == "inset(0px 0px 0px 40%)"
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20, steps=3)
    page.mouse.up()
    assert int(slider.input_value()) == pytest.approx(25, abs=1)
    assert page.evaluate("() => [...document.images].every(image => image.naturalWidth === 200)")

    assert not card.locator(".outline").is_visible()
    card.get_by_role("button", name="Show faces").click()
    found, = FaceFinder()(small_astronaut())
    outline, view = card.locator(".outline").bounding_box(), card.locator(".view").bounding_box()
    assert outline["x"] - view["x"] == pytest.approx(found.box[0] / 200 * view["width"], abs=2)
    assert outline["height"] == pytest.approx(found.box[3] / 200 * view["height"], abs=3)
    face = card.locator(".faces button")
    expected, (restored,) = worker(small_astronaut(), Settings(), lambda stage: None)
    assert face.locator("span").inner_text() == f"restored with face128, {restored.side:.0f} pixels wide"
    face.click()
    assert face.get_attribute("aria-pressed") == "true"
    assert "scale(1)" not in card.locator(".stage").get_attribute("style")

    name, content = downloaded(page, card)
    with Image.open(io.BytesIO(content)) as image:
        assert name == "my photo 家.png" and np.array_equal(np.asarray(image), expected)


def test_several_photos_and_options_and_faces_that_were_left(served, visit):
    address, jobs = served()
    page = visit(address)
    page.get_by_role("radio", name="2×").check()
    page.locator("summary").click()
    page.get_by_label("How a face is put back").select_option("crop")
    page.get_by_label("Blend with the original face").fill("0.5")
    files = {f"{seed}.png": photo_file(seed=seed) for seed in range(5)}
    page.locator("#files").set_input_files([photo(name, content) for name, content in files.items()])
    wait_for(page, "done", 5)
    cards = page.locator("#photos > li")
    assert cards.locator(".name").all_inner_texts() == [f"{seed}.png" for seed in reversed(range(5))]
    for name, card in (("4.png", cards.first), ("0.png", cards.last)):
        with Image.open(io.BytesIO(files[name])) as before:
            expected, _ = stub(np.asarray(before), Settings()._replace(upscale=2), lambda stage: None)
        saved, content = downloaded(page, card)
        with Image.open(io.BytesIO(content)) as after:
            assert saved == name and np.array_equal(np.asarray(after), expected)
    cards.first.get_by_role("button", name="Show faces").click()
    assert cards.first.locator(".faces li.left").inner_text().split("\n")[-1] == \
        "left as it is: too small: 4.0 pixels, 9.0 are needed"
    for job in jobs._jobs.values():
        assert job.settings == Settings()._replace(upscale=2, paste="crop", fidelity=0.5)
    cards.first.get_by_role("button", name="Remove").click()
    assert cards.count() == 4
    page.close(run_before_unload=False)
    until(lambda: jobs.counts()["known"] == 0)  # the closed page's photos are forgotten


def test_all_photos_of_a_page_with_many_are_forgotten(served, visit):
    address, jobs = served()
    page = visit(address)
    page.locator("#files").set_input_files([photo("a.png", photo_file())])
    wait_for(page, "done")
    page.evaluate("() => forget([...Array(250).fill('unknown'), photos[0].id])")
    until(lambda: jobs.counts()["known"] == 0)


def test_a_photo_is_cancelled_and_restored_again(served, visit):
    gate = Gate()
    address, jobs = served(gate)
    page = visit(address)
    page.locator("#files").set_input_files([photo("a.png", photo_file()), photo("b.png", photo_file())])
    gate.wait()
    wait_for(page, "finding")
    wait_for(page, "waiting")
    bar = page.get_by_role("progressbar", name="Progress of a.png")
    assert 30 <= bar.evaluate("bar => bar.value") < 100
    for name in ("b.png", "a.png"):
        page.get_by_role("button", name=f"Cancel: {name}").click()
    wait_for(page, "cancelled", 2)
    gate.open.set()
    page.locator("#photos > li").first.get_by_role("button", name="Restore again").click()
    wait_for(page, "done")
    assert jobs.counts()["known"] == 1


def test_chinese_on_a_phone_in_the_dark(served, visit):
    limits = Limits(file_bytes=1_000_000)
    expected = "the server responded with a status of 422"
    address, _ = served(limits=limits)
    page = visit(address, (expected,), locale="zh-CN", color_scheme="dark", has_touch=True,
                 viewport={"width": 360, "height": 740})
    page.get_by_text("每张最大 1 MB").wait_for()
    assert page.locator("html").get_attribute("lang") == "zh-CN" and page.title() == "复原照片中的人脸"
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert max(map(int, dark.removeprefix("rgb(").rstrip(")").split(","))) < 60
    page.locator("summary").click()
    page.locator("#files").set_input_files([
        photo("a" * 150 + ".png", photo_file()), photo("b.png", b"nothing"), photo("c.png", bytes(1_000_001))])
    wait_for(page, "done")
    wait_for(page, "failed", 2)
    assert page.locator(".failed .status").all_inner_texts() == [
        "文件大于 1 MB。", "无法复原这张照片：不是支持的图像格式。"]
    page.get_by_role("button", name="显示人脸").click()
    assert page.locator(".faces li.left").inner_text().split("\n")[-1] == \
        "保持原样：太小：4.0 像素，至少需要 9.0 像素"
    slider = page.locator("li[data-state=done] .view input")
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + 30)
    assert int(slider.input_value()) == pytest.approx(90, abs=1)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator(".failed .status").first.inner_text() == "The file is larger than 1 MB."
    page.reload()
    assert page.title() == "Restore faces in photos"  # the choice is kept
    page.emulate_media(color_scheme="light")
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert min(map(int, light.removeprefix("rgb(").rstrip(")").split(","))) > 200


def test_a_pasted_photo_with_a_token_and_a_program_that_ends(visit):
    expected = "Failed to load resource"  # of requests once the server has ended
    with serving(token="the-token") as (address, _):
        page = visit(address + "/?token=the-token", (expected,))
        assert page.url == address + "/"
        page.evaluate("""content => {
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "image.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
        }""", base64.b64encode(photo_file()).decode())
        wait_for(page, "done")
        assert downloaded(page, page.locator("#photos > li"))[0] == "image.png"
    page.locator("#files").set_input_files([photo("b.png", photo_file())])
    page.get_by_role("alert").get_by_text("There is no connection to the program").wait_for()
    page.get_by_role("button", name="Cancel: b.png").click()
    wait_for(page, "cancelled")
