# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Groups of faces follow from known colours and known points."""
import numpy as np
import pytest

from data.drawn.builtin_faces import draw_face
from metrics.face_groups import ORDER, FaceGroups, groups_of, size_group, turn, typology_angle

POINTS = np.array([(40, 50), (80, 50), (60, 70), (45, 90), (75, 90)], np.float32)


def plain(colour, size=(120, 120)):
    return np.full((*size, 3), colour, np.uint8)


# CIE Lab (D65) of sRGB: red 53.24, 80.09, 67.20; yellow 97.14, -21.55, 94.48; the third 90.89, 5.53, 21.08; the last
# 16.67, 10.62, 11.67.
@pytest.mark.parametrize("colour, angle, tone", [
    ((255, 0, 0), 2.76, "brown"), ((255, 255, 0), 26.52, "tan"), ((255, 224, 189), 62.73, "very light"),
    ((60, 35, 25), -70.70, "dark")])
def test_the_tone_is_that_of_the_colour(colour, angle, tone):
    assert typology_angle(plain(colour), POINTS) == pytest.approx(angle, abs=0.2)
    assert groups_of(plain(colour), POINTS)["skin tone"] == tone


def test_only_the_cheeks_count():
    picture = plain((0, 0, 255))
    for x in (42, 78):  # halfway between an eye at y = 50 and a corner of the mouth at y = 90
        picture[64:77, x - 6:x + 7] = (255, 255, 0)
    assert groups_of(picture, POINTS)["skin tone"] == "tan"


def test_a_black_and_white_picture_has_no_tone():
    assert groups_of(plain((90, 90, 90)), POINTS)["skin tone"] == "without colour"


@pytest.mark.parametrize("nose, pose", [(60, "frontal"), (63.9, "frontal"), (56.1, "frontal"), (66, "half turned"),
                                        (50.5, "half turned"), (72, "turned"), (45, "turned")])
def test_pose_follows_from_the_nose_whatever_the_roll(nose, pose):
    points = POINTS.copy()
    points[2, 0] = nose
    angle = np.radians(25)
    rolled = (points - 60) @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))]) + 60
    assert groups_of(plain((200, 150, 120)), points)["pose"] == pose
    assert turn(rolled) == pytest.approx(turn(points), abs=1e-5) == pytest.approx((nose - 60) / 40, abs=1e-5)


def test_the_cut_is_relative_to_the_picture():
    cuts = [groups_of(plain((200, 150, 120), (side, side)), POINTS)["cut"] for side in (201, 160, 120, 99)]
    assert cuts == ["wide", "medium", "close", "very close"]


def test_points_outside_the_picture_are_no_error():
    assert groups_of(plain((255, 255, 0)), POINTS + 500)["skin tone"] == "tan"


def test_sizes():
    assert [size_group(side) for side in (5, 12, 13, 16, 128, 129, 512, 513)] == [
        "up to 12 pixels", "up to 12 pixels", "13 to 16 pixels", "13 to 16 pixels", "97 to 128 pixels",
        "129 to 192 pixels", "257 to 512 pixels", "above 512 pixels"]
    assert ORDER["size"][0] == "up to 12 pixels" and ORDER["size"][-1] == "above 512 pixels"


def test_faces_are_found_in_pictures():
    found = FaceGroups()([draw_face(3).image, plain((90, 90, 90))])
    assert found[1] == {"skin tone": "no face found", "pose": "no face found", "cut": "no face found"}
    assert all(found[0][kind] in ORDER[kind][:-1] for kind in ("skin tone", "pose", "cut"))
