# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The people the project draws: traits, pose and the 68 landmarks, all from one random generator.

Coordinates are in units of 1/128 of the image's side, x to the right, y down, z toward the camera.
(0, 0) is the image's top-left corner, so pixel i of an image of n pixels has its centre at
(i + 0.5) * 128 / n units. The canonical head looks straight ahead with the point between its eyes at
x = y = z = 0.
"""

from dataclasses import dataclass

import numpy as np

RIGHT_JAW = [(-31.6, 1, -17), (-31.4, 9, -15.5), (-30.5, 17.4, -13.5), (-28.9, 25.4, -11), (-26, 33, -8),
             (-21.3, 39.6, -4), (-15.2, 45, 0), (-8, 48.6, 3)]
RIGHT_BROW = [(-25.4, -5.6, -4), (-21.8, -8.8, -.5), (-16.6, -9.8, 2), (-11.2, -9.1, 4), (-5.9, -7.3, 5)]
RIGHT_EYE = [(-19.4, .3, -2), (-16.2, -2.2, 1), (-12, -2.2, 2), (-8.5, 1.1, 1.5), (-12.2, 2.1, 2),
             (-16.2, 2.1, 1)]
NOSE_BRIDGE = [(0, -.6, 5), (0, 5, 8.5), (0, 10.6, 12.5), (0, 16, 16)]
RIGHT_NOSE_BASE = [(-6.2, 19, 6), (-3.2, 20.4, 8.5)]
RIGHT_OUTER_LIP = [(-12.4, 29.6, 2), (-8, 27.4, 5.5), (-3.4, 26.2, 8)]
RIGHT_LOWER_LIP = [(-8.2, 33, 5.5), (-3.8, 35, 7.5)]
FOREHEAD = [(31.2, -8, -17), (29.8, -19, -16), (25.8, -29, -14), (17.5, -36.5, -12), (6, -40.3, -11)]
HEAD_PIVOT = np.array([0, 5, -24.0])

SKIN_TONES = np.array([(250, 222, 204), (240, 203, 178), (226, 178, 144), (202, 148, 110), (166, 112, 80),
                       (126, 82, 58), (88, 58, 44)])
HAIR_TONES = np.array([(24, 20, 20), (42, 30, 24), (74, 48, 32), (112, 74, 44), (168, 124, 74),
                       (214, 178, 120), (150, 70, 36), (176, 174, 172)])
EYE_TONES = np.array([(58, 36, 22), (84, 54, 30), (112, 92, 52), (84, 116, 92), (84, 124, 156),
                      (118, 136, 146)])


def mirrored(points):
    """Returns the points mirrored to the head's other side, in reverse order."""
    return [(-x, y, z) for x, y, z in reversed(points)]


def canonical_landmarks():
    """float64 [68, 3]: the average face in iBUG order, canonical head coordinates."""
    left_eye = [RIGHT_EYE[i] for i in (3, 2, 1, 0, 5, 4)]
    points = [*RIGHT_JAW, (0, 50, 4), *mirrored(RIGHT_JAW), *RIGHT_BROW, *mirrored(RIGHT_BROW)]
    points += [*NOSE_BRIDGE, *RIGHT_NOSE_BASE, (0, 21.2, 9.5), *mirrored(RIGHT_NOSE_BASE), *RIGHT_EYE]
    points += [(-x, y, z) for x, y, z in left_eye]
    points += [*RIGHT_OUTER_LIP, (0, 27, 8.5), *mirrored(RIGHT_OUTER_LIP)]
    points += [*mirrored(RIGHT_LOWER_LIP), (0, 35.4, 8), *RIGHT_LOWER_LIP]
    points += [(-11, 29.8, 3), (-3.5, 29.5, 7), (0, 29.6, 7.5), (3.5, 29.5, 7), (11, 29.8, 3)]
    points += [(3.5, 30.1, 7), (0, 30.2, 7.5), (-3.5, 30.1, 7)]
    return np.array(points, np.float64)


@dataclass(frozen=True)
class Pose:
    """A head's rotation (radians), size (1 = canonical) and the position of the eye line in the image (units)."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    origin: np.ndarray

    def project(self, points):
        """Projects head coordinates [n, 3] to image coordinates float64 [n, 2], in units."""
        x, y, z = (np.asarray(points, np.float64) - HEAD_PIVOT).T
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        x, z = x * cos + z * sin, z * cos - x * sin
        y = y * np.cos(self.pitch) - z * np.sin(self.pitch)
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        x, y = x * cos - y * sin, x * sin + y * cos
        return np.stack([x, y], 1) * self.scale + self.origin


@dataclass(frozen=True)
class Person:
    """One drawn person. Colours are linear RGB (display value squared) in [0, 1]; lengths are units."""

    pose: Pose
    landmarks: np.ndarray  # [68, 2], units
    forehead: np.ndarray  # [n, 2], units: the skin's edge from the left temple over the top to the right
    width: float  # head width over the canonical one
    masculine: bool
    age: float  # 0 young .. 1 old
    smile: float
    mouth_open: float
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray


def bell(rng, spread, limit=2.2):
    """Draws a normal value of standard deviation `spread`, clipped at `limit` deviations."""
    return float(np.clip(rng.standard_normal(), -limit, limit)) * spread


def to_linear(colour):
    """Converts display RGB 0..255 to linear RGB 0..1 (gamma 2, so the inverse is a square root)."""
    return np.square(np.clip(np.asarray(colour, np.float32), 0, 255) / 255)


def between_tones(tones, position, rng, jitter):
    """Returns linear RGB at `position` (0 .. len - 1) in a table of display colours, with relative noise `jitter`."""
    index = np.arange(len(tones))
    colour = [np.interp(position, index, tones[:, channel]) for channel in range(3)]
    return to_linear(np.array(colour) * (1 + jitter * rng.standard_normal(3)))


def scale_about(points, indices, centre, x_factor, y_factor):
    """Scales the landmarks `indices` about a centre, in place."""
    points[indices, 0] = centre[0] + (points[indices, 0] - centre[0]) * x_factor
    points[indices, 1] = centre[1] + (points[indices, 1] - centre[1]) * y_factor


def vary_features(points, rng, masculine):
    """Varies the proportions of the canonical landmarks, in place."""
    points[3:14, 0] *= 1 + bell(rng, .05) + .03 * masculine
    points[5:12, 1] += bell(rng, 1.6) + masculine
    eye_width, eye_height = 1.06 + bell(rng, .05), 1.16 + bell(rng, .16) - .08 * masculine
    slant = bell(rng, .05)
    spacing, brow_lift, brow_slant = bell(rng, .7), bell(rng, 1.1) - .8 * masculine, bell(rng, .06)
    for side, eye, brow in ((-1, range(36, 42), range(17, 22)), (1, range(42, 48), range(22, 27))):
        eye, brow = list(eye), list(brow)
        scale_about(points, eye, points[eye, :2].mean(0), eye_width, eye_height)
        points[eye, 1] -= slant * (np.abs(points[eye, 0]) - 14)
        points[eye, 0] += side * spacing
        points[brow, 1] -= brow_lift + brow_slant * (np.abs(points[brow, 0]) - 15)
        points[brow, 0] += side * spacing * .7
    nose = list(range(31, 36))
    scale_about(points, nose, (0, 19), 1 + bell(rng, .13) + .05 * masculine, 1)
    points[27:36, 2] *= 1 + bell(rng, .12)
    points[29:36, 1] += bell(rng, 1)
    thickness = max(.6, 1 + bell(rng, .2) - .14 * masculine)
    scale_about(points, list(range(48, 68)), (0, 29.7), 1 + bell(rng, .07), thickness)
    points[48:68, 1] += bell(rng, .8)


def express(points, smile, mouth_open):
    """Smile (0..1) and open the mouth (0..1), in place."""
    corners = [48, 54, 60, 64]
    points[corners, 0] *= 1 + .16 * smile
    points[corners, 1] -= 1.9 * smile
    points[[49, 53, 59, 55], 0] *= 1 + .11 * smile
    points[[49, 53], 1] -= .5 * smile
    points[[61, 62, 63], 1] -= .8 * mouth_open
    points[[50, 51, 52], 1] -= .7 * mouth_open
    points[[65, 66, 67], 1] += 6 * mouth_open
    points[[56, 57, 58], 1] += 5.6 * mouth_open
    points[[55, 59], 1] += 3.6 * mouth_open
    points[5:12, 1] += 2.4 * mouth_open
    points[[40, 41, 46, 47], 1] -= .7 * smile  # cheeks push the lower lids up


def sample_pose(rng):
    """Draws a near-frontal pose: yaw within 26, pitch within 11, roll within 7 degrees."""
    yaw, pitch, roll = np.radians([bell(rng, 12), bell(rng, 5), bell(rng, 3)])
    origin = np.array([64 + bell(rng, 1.2), 66.5 + bell(rng, 1.5)])
    scale = 1 + bell(rng, .04)
    centre = Pose(yaw, pitch, roll, scale, np.zeros(2)).project([(0, 0, 2)])[0]
    return Pose(yaw, pitch, roll, scale, origin - centre)


def sample_person(rng):
    """Draw one person's traits from a numpy Generator."""
    masculine, age = bool(rng.random() < .5), float(rng.random() ** 1.6)
    smile = float(np.clip(rng.normal(.4, .45), 0, 1))
    mouth_open = float(rng.uniform(.15, 1) * (.35 + .65 * rng.random())) if rng.random() < .45 else 0.0
    points, width = canonical_landmarks(), 1 + bell(rng, .035)
    vary_features(points, rng, masculine)
    express(points, smile, mouth_open)
    points[:, :2] += rng.standard_normal((68, 2)) * .12
    points[:, 0] *= width
    forehead = np.array([*FOREHEAD, *mirrored(FOREHEAD)]) * (width, 1, 1)
    pose = sample_pose(rng)
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    grey = age > .75 and rng.random() < .7
    hair_tone = 7 if grey else rng.uniform(0, 2.2 if tone > 3.2 else 6.2)
    skin = between_tones(SKIN_TONES, tone, rng, .025)
    hair = between_tones(HAIR_TONES, hair_tone, rng, .025)
    iris = between_tones(EYE_TONES, rng.uniform(0, 1.5 if tone > 3 else 5), rng, .05)
    return Person(pose, pose.project(points), pose.project(forehead), width, masculine, age, smile,
                  mouth_open, skin, hair, iris)
