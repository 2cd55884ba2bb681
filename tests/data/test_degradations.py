# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The degradation chains: frequencies of the branches, ranges of the values, and each function's result."""
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from data import degradations as d
from tools.show_degradations import main
from utils.errors import UserError

COUNT = 4000


@pytest.fixture(scope="module")
def face():
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def records(face):
    return [d.degrade_ffhq(face, np.random.default_rng([7, i]))[2] for i in range(COUNT)]


def share(records, test):
    return sum(map(test, records)) / len(records)


def near(probability, count=COUNT):
    """Expects `probability` within four standard deviations of a share of `count` draws."""
    return pytest.approx(probability, abs=4 * (probability * (1 - probability) / count) ** 0.5)


def test_each_branch_is_as_frequent_as_published(records):
    for name, probability in (("grey", 0.3), ("blur", 0.5), ("noise", 0.2), ("quality", 0.7)):
        assert share(records, lambda r, name=name: name in r) == near(probability)
    blurred = [r for r in records if "blur" in r]
    for kind in ("gaussian", "average", "median", "motion"):
        assert share(blurred, lambda r, kind=kind: r["blur"] == kind) == near(0.25, len(blurred))
    for name in ("nearest", "linear", "area", "cubic"):
        assert share(records, lambda r, name=name: r["filter"] == name) == near(0.25)
    noisy = [r for r in records if "noise" in r]
    assert share(noisy, lambda r: r["coloured"]) == near(0.5, len(noisy))


@pytest.mark.parametrize("kind, name, low, high, step", [
    (None, "low_size", 32, 127, 1), (None, "quality", 35, 90, 1), (None, "noise", 0, 25.5, 0),
    ("gaussian", "sigma", 3, 15, 0), ("average", "size", 3, 15, 1), ("median", "size", 3, 15, 2),
    ("motion", "size", 5, 25, 2), ("motion", "angle", 0, 360, 0), ("motion", "direction", -1, 1, 0)])
def test_each_range_is_as_published_and_filled(records, kind, name, low, high, step):
    values = [r[name] for r in records if name in r and (kind is None or r["blur"] == kind)]
    width = high - low
    if step:
        assert min(values) == low and max(values) == high
        assert set(values) == set(range(low, high + 1, step))
    else:
        assert low <= min(values) < low + 0.03 * width and high - 0.03 * width < max(values) <= high
    # An even size becomes the next odd size, so the lowest odd size is half as frequent as the others.
    middle = (low + high) / 2 + (0.5 if step == 2 else 0)
    assert np.mean(values) == pytest.approx(middle, abs=4 * width / (12 * len(values)) ** 0.5)


def test_the_chain_does_what_its_record_says_in_the_published_order(face, monkeypatch):
    """Each step gets the previous step's image and the recorded numbers. All four blurs occur."""
    calls = []
    names = {"grey", "gaussian_blur", "average_blur", "median_blur", "motion_blur", "resize", "gaussian_noise", "jpeg"}
    for name in names:
        function = getattr(d, name)

        def step(image, *values, name=name, function=function, **more):
            out = function(image, *values, **more)
            calls.append((name, image, [v for v in (*values, *more.values()) if not hasattr(v, "random")], out))
            return out
        monkeypatch.setattr(d, name, step)
    seen = set()
    for seed in range(60):
        calls.clear()
        target, low, r = d.degrade_ffhq(face, np.random.default_rng(seed))
        expected = [("grey", [])] if "grey" in r else []
        if "blur" in r:
            numbers = [r[name] for name in ("sigma", "size", "angle", "direction") if name in r]
            expected.append((f"{r['blur']}_blur", numbers))
        expected.append(("resize", [r["low_size"], r["filter"]]))
        expected += [("gaussian_noise", [r["noise"], r["coloured"]])] if "noise" in r else []
        expected += [("jpeg", [r["quality"]])] if "quality" in r else []
        assert [(name, values) for name, _, values, _ in calls] == [*expected, ("resize", [64, "cubic"])]
        assert calls[0][1] is face and calls[-1][3] is low
        assert all(before[3] is after[1] for before, after in zip(calls, calls[1:], strict=False))
        seen |= {name for name, *_ in calls}
    assert seen == names


def test_the_same_numbers_make_the_same_picture_and_the_input_stays(face):
    before = face.copy()
    one, two = (d.degrade_ffhq(face, np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one[:2], two[:2], strict=True)) and one[2] == two[2]
    assert np.array_equal(face, before)
    assert one[1].shape == face.shape and one[1].dtype == np.uint8


def test_grey_is_of_the_target_too(face, records):
    seed = next(i for i, r in enumerate(records) if "grey" in r)
    target, _, _ = d.degrade_ffhq(face, np.random.default_rng([7, seed]))
    assert np.ptp(target.astype(int), axis=2).max() == 0
    luma = np.asarray(Image.fromarray(face).convert("L")).astype(int)
    assert np.abs(target[..., 0] - luma).max() <= 1
    seed = next(i for i, r in enumerate(records) if "grey" not in r)
    assert np.array_equal(d.degrade_ffhq(face, np.random.default_rng([7, seed]))[0], face)


def point(size=31):
    image = np.zeros((size, size, 3), np.uint8)
    image[size // 2, size // 2] = 255
    return image


def test_average_and_median_by_hand():
    blurred = d.average_blur(point(), 5)
    assert (blurred[13:18, 13:18] == 10).all() and blurred.sum() == 25 * 3 * 10  # 255 / 25, rounded
    assert (d.median_blur(point(), 3) == 0).all()


def test_gaussian_has_the_width_asked_for():
    step = np.repeat((np.arange(121) > 60).astype(np.uint8)[None, :, None] * 250, 121, 0).repeat(3, 2)
    density = np.diff(d.gaussian_blur(step, 6.0)[60, :, 0].astype(float))
    places = np.arange(120) - (density * np.arange(120)).sum() / density.sum()
    # The kernel has 15 pixels: a normal density cut at a = 1.25 sigma.
    # Its variance is 1 - 2 a phi(a) / (2 Phi(a) - 1) = 0.421 times sigma^2.
    assert (density * places ** 2).sum() / density.sum() == pytest.approx(6.0 ** 2 * 0.421, rel=0.02)


@pytest.mark.parametrize("sigma, size", [(1, 5), (2, 7), (4.9, 15), (6, 15), (15, 39)])
def test_gaussian_is_cut_where_imgaug_cuts_it(sigma, size):
    stripe = np.zeros((61, 61, 3), np.uint8)
    stripe[:, 30] = 255
    assert np.count_nonzero(d.gaussian_blur(stripe, sigma)[30, :, 0]) == size


def test_motion_is_a_line_in_its_direction():
    upright = d.motion_kernel(9, 0, 0.0)
    assert upright.sum() == pytest.approx(1) and np.allclose(upright[:, 4], 1 / 9)
    lying = d.motion_kernel(9, 90, 0.0)
    assert lying[4].sum() == pytest.approx(1, abs=1e-3)
    one, other = d.motion_kernel(9, 0, 1.0)[:, 4], d.motion_kernel(9, 0, -1.0)[:, 4]
    assert np.all(np.diff(one) < 0) and np.allclose(one, other[::-1])


def test_noise_has_its_spread_and_its_colour():
    plain = np.full((200, 200, 3), 128, np.uint8)
    for coloured in (True, False):
        noisy = d.gaussian_noise(plain, 10.0, coloured, np.random.default_rng(0)).astype(float)
        assert noisy.std() == pytest.approx(10, rel=0.03) and noisy.mean() == pytest.approx(128, abs=0.3)
        assert np.array_equal(noisy[..., 0], noisy[..., 1]) != coloured


def test_jpeg_is_a_jpeg_of_that_quality(face):
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG", quality=40)
    reference = np.asarray(Image.open(buffer)).astype(float)
    assert np.abs(d.jpeg(face, 40) - reference).mean() < 1.5
    assert np.abs(d.jpeg(face, 90) - face.astype(float)).mean() < np.abs(d.jpeg(face, 35) - face.astype(float)).mean()


def test_the_grid_is_written_or_says_why_not(tmp_path, monkeypatch, capsys, face):
    faces = tmp_path / "faces"
    faces.mkdir()
    Image.fromarray(face).save(faces / "a.png")

    def show(target, *words):
        monkeypatch.setattr("sys.argv", ["degradations", str(faces), str(target), "--size", "32", *words])
        main()
    show(tmp_path / "grid.png", "--chain", "hard", "--columns", "1")
    assert capsys.readouterr().out.count("blur_2") == 1
    show(tmp_path / "grid.png", "--columns", "2", "--rows", "3")
    assert Image.open(tmp_path / "grid.png").size == (3 * 34 + 2, 36)
    assert capsys.readouterr().out.count("low_size") == 2
    (tmp_path / "file").write_text("")
    for target, message in (("grid", "use an image extension"), ("file/grid.png", "cannot write")):
        with pytest.raises(UserError, match=message):
            show(tmp_path / target)
    with pytest.raises(UserError, match="--rows: 0 is below 1"):
        show(tmp_path / "grid.png", "--rows", "0")
    (faces / "a.png").write_bytes((faces / "a.png").read_bytes()[:200])
    with pytest.raises(UserError, match="FACES: .*a.png.*fix or remove it"):
        show(tmp_path / "grid.png")


# -- GPEN's chain and the hard chain -------------------------------------------------------------------------------

DRAWS = 1500


def draw(chain):
    """Returns the records of DRAWS calls of a chain. The image is small to save time."""
    return [chain(np.zeros((24, 24, 3), np.uint8), np.random.default_rng([8, i]))[2] for i in range(DRAWS)]


def fills(values, low, high):
    """Returns whether values are spread evenly over low..high."""
    quarters = np.histogram(values, 4, (low, high))[0] / len(values)
    end = 0.01 * (high - low)
    assert low <= min(values) < low + end and high - end < max(values) <= high
    return np.allclose(quarters, 0.25, atol=4 * (3 / 16 / len(values)) ** 0.5 + 0.02)  # 0.02: for integers


def test_gpen_draws_each_branch_and_range_as_published():
    gpen_records = draw(d.degrade_gpen)
    assert share(gpen_records, lambda r: "grey" in r) == near(0.2, DRAWS)
    assert share(gpen_records, lambda r: r["blur"] == "isotropic") == near(0.5, DRAWS)
    assert {r["blur"] for r in gpen_records} == {"isotropic", "anisotropic"}
    for name, low, high in (("sigma", 0.1, 10), ("sigma_x", 0.1, 10), ("sigma_y", 0.1, 10), ("angle", -180, 180),
                            ("scale", 0.8, 8), ("noise", 0, 20), ("quality", 60, 100)):
        assert fills([r[name] for r in gpen_records if name in r], low, high), name
    assert {r["quality"] for r in gpen_records} == set(range(60, 101))


def test_hard_draws_two_passes_of_its_own():
    hard_records = draw(d.degrade_hard)
    assert share(hard_records, lambda r: "grey" in r) == near(0.2, DRAWS)
    for n in (1, 2):
        for kind in ("isotropic", "anisotropic", "motion"):
            assert share(hard_records, lambda r, n=n, kind=kind: r[f"blur_{n}"] == kind) == near(1 / 3, DRAWS)
        for name, low, high in (("sigma", 0.1, 10), ("sigma_x", 0.1, 10), ("sigma_y", 0.1, 10), ("scale", 1, 16),
                                ("noise", 0, 25), ("quality", 20, 90), ("direction", -1, 1)):
            assert fills([r[f"{name}_{n}"] for r in hard_records if f"{name}_{n}" in r], low, high), name
        assert {r[f"size_{n}"] for r in hard_records if f"size_{n}" in r} == set(range(5, 42, 2))
    both = [(r["scale_1"], r["scale_2"]) for r in hard_records]
    assert abs(np.corrcoef(np.transpose(both))[0, 1]) < 4 / DRAWS ** 0.5


@pytest.mark.parametrize("chain", [d.degrade_gpen, d.degrade_hard])
def test_these_chains_are_reproducible_and_grey_the_target_too(face, chain):
    before, greys = face.copy(), 0
    for seed in range(20):
        (target, low, record), again = (chain(face, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(low, again[1]) and np.array_equal(target, again[0]) and record == again[2]
        assert low.shape == face.shape and low.dtype == np.uint8 and np.array_equal(face, before)
        assert np.array_equal(target, d.grey(face) if "grey" in record else face)
        greys += "grey" in record
    assert 0 < greys < 20


def test_gpen_by_hand(monkeypatch):
    """Recomputes GPEN's chain in numpy for one draw: blur, reduce, enlarge, in this order."""
    noise = np.random.default_rng(1).integers(0, 256, (9, 9), dtype=np.uint8)  # grey: JPEG halves colour's resolution
    face = np.asarray(Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).convert("RGB"))
    seed = next(i for i in range(100) if d.degrade_gpen(face, np.random.default_rng(i))[2].get("sigma_x", 0) > 3)
    _, low, record = d.degrade_gpen(face, np.random.default_rng(seed))
    kernel = d.gaussian_kernel(41, record["sigma_x"], record["sigma_y"], record["angle"]).astype(float)
    padded = np.pad(face, ((20, 20), (20, 20), (0, 0)), mode="reflect").astype(float)
    blurred = sum(kernel[y, x] * padded[y:y + 64, x:x + 64] for y in range(41) for x in range(41))
    side = int(64 / record["scale"])
    centres = (np.arange(side) + 0.5) * 64 / side - 0.5

    def between(rows, places):
        places = np.clip(places, 0, len(rows) - 1)
        lower = np.minimum(places.astype(int), len(rows) - 2)
        part = (places - lower)[:, None, None]
        return rows[lower] * (1 - part) + rows[lower + 1] * part

    small = between(between(blurred, centres).swapaxes(0, 1), centres).swapaxes(0, 1)
    calm = d.GPEN._replace(noise=(0.0, 0.0), quality=(100, 100))
    monkeypatch.setattr(d, "GPEN", calm)
    _, still, drawn = d.degrade_gpen(face, np.random.default_rng(seed))
    assert drawn["scale"] == record["scale"]
    back = (np.arange(64) + 0.5) * side / 64 - 0.5
    expected = between(between(small, back).swapaxes(0, 1), back).swapaxes(0, 1)
    assert np.abs(still - expected).mean() < 0.7 and np.abs(still - expected).max() < 3
    assert np.abs(low - expected).mean() > 2


def test_gaussian_kernels_have_sum_widths_and_direction():
    y, x = np.mgrid[-20:21, -20:21]
    for sigma_x, sigma_y, angle in ((0.1, 0.1, 12), (1, 4, 0), (2, 5, 30), (10, 10, 0), (3, 3, -77)):
        kernel = d.gaussian_kernel(41, sigma_x, sigma_y, angle)
        assert kernel.shape == (41, 41) and kernel.sum() == pytest.approx(1, abs=1e-5)
        assert np.allclose(kernel, kernel[::-1, ::-1])
    kernel = d.gaussian_kernel(41, 4, 2, 30)
    variances, axes = np.linalg.eigh(np.cov(np.stack([x.ravel(), y.ravel()]), aweights=kernel.ravel(), ddof=0))
    assert np.sqrt(variances) == pytest.approx([2, 4], rel=1e-3)
    assert axes[1, 1] / axes[0, 1] == pytest.approx(np.tan(np.radians(30)), rel=1e-3)


def test_the_isotropic_blur_is_that_kernel(face):
    ranges = d.GPEN._replace(blurs=("isotropic",), sigma=(3.0, 3.0))
    blurred, record = d.random_kernel(face, np.random.default_rng(0), ranges)
    whole = cv2.filter2D(face, -1, d.gaussian_kernel(41, 3, 3, 0), borderType=cv2.BORDER_REFLECT_101)
    assert record["sigma"] == 3 and np.abs(blurred.astype(int) - whole).max() <= 1


def test_a_pass_has_the_published_order_and_coloured_noise(monkeypatch):
    calls = []
    for name in ("random_kernel", "resize", "gaussian_noise", "jpeg"):
        function = getattr(d, name)
        monkeypatch.setattr(d, name, lambda *a, name=name, function=function: calls.append((name, a)) or function(*a))
    d.degrade_gpen(np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0))
    assert [name for name, _ in calls] == ["random_kernel", "resize", "gaussian_noise", "jpeg", "resize"]
    assert all(a[2] == "linear" for name, a in calls if name == "resize")
    assert all(a[2] is True for name, a in calls if name == "gaussian_noise")


def test_the_second_pass_goes_on_from_the_first(face):
    rng = np.random.default_rng(2)
    once = d.grey(face) if rng.random() < 0.2 else face
    for _ in range(2):
        once, _ = d.one_pass(once, rng, d.HARD)
    assert np.array_equal(d.degrade_hard(face, np.random.default_rng(2))[1], once)
