# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Finding faces: drawn faces of known points at several sizes and angles, photos without faces, O-Net's numbers."""
import functools
import shutil

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from data.drawn.builtin_faces import draw_face
from data.landmark_files import five_points
from models.onet import ONet
from models.weights import count_parameters, match_weights, read_weights
from restore import face_finder
from restore.face_finder import ALL_ANGLES, REFINER, FaceFinder, find_points
from utils.errors import UserError


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


@functools.cache
def drawn(seed, size):
    """Returns (picture, five points) of a drawn face."""
    face = draw_face(seed, size)
    return face.image, five_points(face.landmarks)


def compose(shape, faces):
    """Returns (photo, [points]): drawn faces at [(seed, size, left, top)] on a grey photo; the frame may cut them."""
    photo = np.full((*shape, 3), 128, np.uint8)
    true = []
    for seed, size, left, top in faces:
        picture, points = drawn(seed, size)
        bottom, right = min(top + size, shape[0]), min(left + size, shape[1])
        part = picture[max(0, -top):bottom - top, max(0, -left):right - left]
        photo[max(0, top):bottom, max(0, left):right] = part
        true.append(points + (left, top))
    return photo, true


def error(found, true):
    """Returns the mean error of five points in eyes' distances."""
    return np.linalg.norm(found - true, axis=1).mean() / np.linalg.norm(true[1] - true[0])


def test_faces_of_several_sizes_come_from_left_to_right(finder):
    photo, true = compose((400, 700), [(0, 40, 20, 30), (3, 96, 120, 200), (7, 320, 340, 40)])
    faces = finder(photo)
    assert len(faces) == 3 and all(error(face.points, points) < 0.12 for face, points in zip(faces, true, strict=True))
    for face, points in zip(faces, true, strict=True):
        left, top, width, height = face.box
        assert ((left, top) < points).all() and (points < (left + width, top + height)).all()
        assert face.size == max(width, height) and face.points.dtype == np.float32
        assert 0.6 <= face.score <= 1 and 0.9 < face.trust <= 1 and abs(face.angle) < 10
        assert face.eye_distance == pytest.approx(np.linalg.norm(points[1] - points[0]), rel=0.15)
    assert len(finder(photo, max_face=50)) == 1 and [f.size > 40 for f in finder(photo, min_face=40)] == [True, True]


@pytest.mark.parametrize("angle", [0, 90, 180, 270, 45])
def test_turned_heads_are_found_at_their_angle(finder, angle):
    photo, (true,) = compose((300, 300), [(3, 130, 85, 85)])
    matrix = cv2.getRotationMatrix2D((149.5, 149.5), -angle, 1)
    photo = cv2.warpAffine(photo, matrix, (300, 300), borderMode=cv2.BORDER_REPLICATE)
    face, = finder(photo, angles=ALL_ANGLES)
    assert error(face.points, true @ matrix[:, :2].T + matrix[:, 2]) < 0.12
    assert abs((face.angle - angle + 180) % 360 - 180) < 8


@pytest.mark.parametrize("left", [-64, 192])
def test_a_face_half_outside_the_frame(finder, left):
    photo, (true,) = compose((256, 256), [(3, 128, left, 64)])
    face, = finder(photo)
    assert error(face.points, true) < 0.15


@pytest.mark.parametrize("left", [-76, 206])
def test_a_face_of_which_little_is_visible_is_found_in_the_reflected_border(finder, left, monkeypatch):
    photo, _ = compose((256, 256), [(3, 128, left, 64)])
    assert len(finder(photo)) == 1
    monkeypatch.setattr(face_finder, "BORDER", 0)
    assert finder(photo) == []


def test_a_very_large_face(finder):
    picture, points = drawn(3, 1024)
    face, = finder(cv2.resize(picture, (2000, 2000), interpolation=cv2.INTER_LINEAR))
    assert error(face.points, (points + 0.5) * 2000 / 1024 - 0.5) < 0.12


def test_very_small_faces_are_found_if_asked_for(finder):
    places = [(seed, 256, 64 + 300 * (seed % 3), 40 + 300 * (seed // 3)) for seed in range(6)]
    photo, true = compose((600, 1000), places)
    small = cv2.resize(photo, None, fx=1 / 20, fy=1 / 20, interpolation=cv2.INTER_AREA)
    photo = np.full((300, 400, 3), 128, np.uint8)
    photo[100:100 + small.shape[0], 200:200 + small.shape[1]] = small
    faces = finder(photo, min_face=5)
    near = [min(np.linalg.norm(face.points.mean(0) - (points.mean(0) / 20 + (200, 100))) for face in faces)
            for points in true]
    assert sum(distance < 2 for distance in near) >= 5


@pytest.mark.parametrize("name", ["coffee", "chelsea", "moon", "hubble_deep_field"])
def test_photos_without_faces(finder, name):
    photo = np.atleast_3d(getattr(skimage.data, name)())
    assert finder(np.ascontiguousarray(np.broadcast_to(photo, (*photo.shape[:2], 3)))) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (300, 2), (200, 300)])
def test_plain_and_noisy_pictures_have_no_face(finder, shape):
    plain = np.full((*shape, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert finder(plain) == finder(noise, angles=ALL_ANGLES) == [] and find_points(plain, finder) is None


def test_doubtful_finds_need_o_nets_certainty(finder, monkeypatch):
    scores, trust = np.array([0.45, 0.45, 0.65, 0.65]), [0.96, 0.98, 0.45, 0.55]
    points = face_finder.TEMPLATE + 100 * np.stack([np.arange(4), np.zeros(4)], 1)[:, None]
    corners = np.stack([points.min(1), points.max(1)], 1)
    monkeypatch.setattr(finder, "_detect", lambda *_: face_finder._Finds(corners, points, scores))
    monkeypatch.setattr(finder, "_refine", lambda levels, points, turned: (
        points, np.array([trust[int(face[0, 0]) // 100] for face in points])))
    assert [(face.score, face.trust) for face in finder(np.zeros((120, 500, 3), np.uint8))] == [
        (0.45, 0.98), (0.65, 0.55)]


def test_what_o_net_doubts_is_returned_if_asked_for_and_displaces_no_face(finder, monkeypatch):
    scores, trust = np.array([0.55, 0.9, 0.65, 0.65, 0.95]), [0.45, 0.19, 0.21, 0.55, 0.45]
    points = face_finder.TEMPLATE + 100 * np.stack([np.arange(5), np.zeros(5)], 1)[:, None]
    corners = np.stack([points.min(1), points.max(1)], 1)
    corners[4] = corners[3]  # one place, found twice
    monkeypatch.setattr(finder, "_detect", lambda *_: face_finder._Finds(corners, points, scores))
    monkeypatch.setattr(finder, "_refine", lambda levels, points, turned: (
        points, np.array([trust[int(face[0, 0]) // 100] for face in points])))
    photo = np.zeros((120, 500, 3), np.uint8)
    assert [face.trust for face in finder(photo, angles=(0, 90))] == [0.55]
    assert [(face.trust, face.doubtful) for face in finder(photo, angles=(0, 90), doubtful=True)] == [
        (0.21, True), (0.55, False)]


def test_o_net_sees_each_face_and_its_mirror_image(finder, monkeypatch):
    photo, _ = compose((200, 400), [(0, 100, 40, 50), (3, 100, 240, 50)])
    seen, refiner = [], finder._refiner
    monkeypatch.setattr(finder, "_refiner", lambda crops: seen.append(crops) or refiner(crops))
    finder(photo)
    assert len(seen) == face_finder.PASSES == 2
    for crops, mirrored in (batch.chunk(2) for batch in seen):
        assert torch.equal(mirrored, crops.flip(3)) and not torch.equal(mirrored, crops)


def test_pieces_of_a_large_photo_lose_no_face(finder, monkeypatch):
    photo, true = compose((200, 800), [(seed, 100, 40 + 190 * seed, 50) for seed in range(4)])
    whole = finder(photo)
    monkeypatch.setattr(face_finder, "PIECE", 2e5)
    assert len(list(face_finder._pieces(face_finder._pyramid(photo, face_finder.SMALLEST_FACE)[0].picture))) > 3
    faces = finder(photo)
    assert len(faces) == len(whole) == 4
    assert all(error(face.points, points) < 0.12 for face, points in zip(faces, true, strict=True))


def test_large_faces_are_looked_for_in_reduced_photos():
    levels = face_finder._pyramid(np.zeros((1200, 1600, 3), np.uint8), face_finder.SMALLEST_FACE)
    assert [level.picture.shape[:2] for level in levels[1:]] == [(480, 640), (192, 256)]
    assert [level.scale for level in levels[1:]] == [0.4, 0.16]


def test_time_is_bounded_by_the_pixels_seen():
    def seen(height, width, min_face=face_finder.SMALLEST_FACE):
        photo = np.zeros((height, width, 3), np.uint8)
        sizes = [level.picture.shape for level in face_finder._pyramid(photo, min_face)]
        assert sizes == sorted(sizes, reverse=True)
        return sizes[0][0] * sizes[0][1]

    assert seen(3000, 4000) == pytest.approx(face_finder.PIXELS, rel=0.01)
    assert seen(1200, 1600) == pytest.approx(face_finder.PIXELS, rel=0.01)
    assert seen(600, 800) == 1200 * 1600 and seen(16, 16) == 256 * 256 and seen(2000, 3000) == 2000 * 3000
    assert seen(3000, 4000, 140) < face_finder.PIXELS / 90 and seen(600, 800, 5) == 1800 * 2400


def test_the_refiner_computes_what_the_published_one_does():
    """The numbers are those of facenet-pytorch 2.6.0 (its class ONet with its weights)."""
    net = ONet()
    net.load_state_dict(match_weights(net, read_weights(REFINER)))
    assert count_parameters(net) == 389_040
    rows, columns, channels = np.mgrid[:48, :48, :3]
    picture = torch.from_numpy((columns * 5 + rows * 3 + channels * 40) % 256).permute(2, 0, 1)[None]
    with torch.no_grad():
        trust, offsets, points = net((picture.float() - 127.5) / 128)
    assert trust[0].item() == pytest.approx(0.00392208, abs=1e-6)
    assert offsets[0].tolist() == pytest.approx([0.0323763, -0.1239762, -0.1199382, 0.0517615], abs=1e-5)
    assert points[0, :, 0].tolist() == pytest.approx([0.4302734, 0.7370272, 0.5921220, 0.3376187, 0.5555087], abs=1e-5)
    assert points[0, :, 1].tolist() == pytest.approx([0.3220554, 0.3328164, 0.6652476, 0.7879334, 0.8211758], abs=1e-5)


@pytest.mark.parametrize("constant", ["DETECTOR", "REFINER"])
def test_missing_weights_are_named(constant, tmp_path, monkeypatch):
    moved = tmp_path / getattr(face_finder, constant).name
    monkeypatch.setattr(face_finder, constant, moved)
    with pytest.raises(UserError, match=f"{moved.name}.*no such file"):
        FaceFinder()
    shutil.copy(__file__, moved)
    if constant == "REFINER":
        with pytest.raises(UserError, match=moved.name):
            FaceFinder()
