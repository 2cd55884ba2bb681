# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Nose, mouth, eyes and brows of the built-in faces, painted along the person's landmarks."""

import cv2
import numpy as np

from data.drawn.face_canvas import curve, grain
from data.drawn.face_shape import to_linear
from data.face_parts import LABEL


def paint_nose(scene):
    """Label the nose; paint nostrils, the folds of its wings and the shade beneath."""
    canvas, p = scene.canvas, scene.person.landmarks
    bridge, left, right = p[27:31], p[31], p[35]
    left_edge = [bridge[0] - (2.2, 0), bridge[1] * .8 + left * .2 - (1, 0), left - (1, 4.2),
                 left - (1.3, 1.2)]
    right_edge = [bridge[0] + (2.2, 0), bridge[1] * .8 + right * .2 + (1, 0), right + (1, -4.2),
                  right + (1.3, -1.2)]
    base = [left + (-.2, .6), p[32] + (0, .7), p[33] + (0, .8), p[34] + (0, .7), right + (.2, .6)]
    nose = canvas.fill(curve([*left_edge, *base, *right_edge[::-1]], closed=True))
    canvas.labels[nose > 127] = LABEL["nose"]
    rim = [left + (0, .2), p[33] + (0, .4), right + (0, .2), p[33] + (0, 2.6)]
    under = canvas.fill(curve(rim, closed=True))
    canvas.paint(canvas.soften(under, .7), (.45, .36, .34), .6, multiply=True)
    for wing, base_point, out in ((left, p[32], -1), (right, p[34], 1)):
        crease = curve([wing + (out * .7, -4.4), wing + (out * 1.5, -1.8), wing + (out * .6, .3)])
        canvas.paint(canvas.soften(canvas.stroke([crease], .5), .35), (.3, .2, .18), .5, multiply=True)
        nostril = canvas.disc(base_point * .72 + wing * .28 + (0, -.75), 1.55, .55, out * .35)
        canvas.paint(canvas.soften(nostril, .25), (.1, .045, .035), .85, multiply=True)


def paint_mouth(scene):
    """Lips, and teeth and tongue when the mouth is open."""
    canvas, person, rng, p = scene.canvas, scene.person, scene.rng, scene.person.landmarks
    upper_edge, inner_top = curve(p[48:55]), curve(p[60:65])
    lower_edge, inner_bottom = curve(p[[54, 55, 56, 57, 58, 59, 48]]), curve(p[[64, 65, 66, 67, 60]])
    upper = canvas.fill(np.concatenate([upper_edge, inner_top[::-1]]))
    lower = canvas.fill(np.concatenate([lower_edge, inner_bottom[::-1]]))
    natural = person.skin * (.82, .5, .52) + (.03, 0, .003)
    painted = to_linear([(190, 30, 50), (200, 90, 100), (140, 40, 70), (214, 120, 110)][rng.integers(4)])
    makeup = 0 if person.masculine else rng.uniform(0, .8)
    lips = natural * (1 - makeup) + painted * makeup
    lines = 1 + .1 * grain(rng, 16, 150, canvas.width)
    canvas.paint(canvas.soften(cv2.max(upper, lower), .7), person.skin * (.8, .55, .55), .25, multiply=True)
    canvas.paint(lower, lips * 1.12, light=scene.lit * lines, label=LABEL["l_lip"])
    canvas.paint(upper, lips * .8, light=scene.lit * lines, label=LABEL["u_lip"])
    shine = canvas.soften(canvas.disc(p[57] * .65 + p[66] * .35, 3.2, .22), .5)
    canvas.paint(shine, scene.lit.mean((1, 2)), rng.uniform(.1, .4))
    if person.mouth_open > .05:
        paint_teeth(scene, inner_top, inner_bottom)
    is_open = person.mouth_open > .05
    rim = [inner_top, inner_bottom] if is_open else [(inner_top + inner_bottom[::-1]) / 2]
    canvas.paint(canvas.soften(canvas.stroke(rim, .6), .25), (.12, .06, .06), .8, multiply=True)
    corners = cv2.max(canvas.disc(p[48], 1.2), canvas.disc(p[54], 1.2))
    canvas.paint(canvas.soften(corners, .7), (.3, .2, .2), .6, multiply=True)


def paint_teeth(scene, inner_top, inner_bottom):
    canvas, rng = scene.canvas, scene.rng
    hollow = canvas.fill(np.concatenate([inner_top, inner_bottom]))
    canvas.paint(hollow, (.035, .008, .009), label=LABEL["mouth"])
    below = inner_bottom[::-1]
    tongue = canvas.fill(np.concatenate([inner_top * .3 + below * .7, inner_bottom]))
    canvas.paint(cv2.min(canvas.soften(tongue, .6), hollow), scene.lit.mean((1, 2)) * (.32, .09, .09), .7)
    if rng.random() < .15:
        return
    reach = rng.uniform(.5, .9)
    teeth = canvas.fill(np.concatenate([inner_top, (inner_top * (1 - reach) + below * reach)[::-1]]))
    white = to_linear(np.array([238, 228, 212]) * rng.uniform(.85, 1))
    canvas.paint(cv2.min(teeth, hollow), white * .85, light=scene.lit)
    middle = (inner_top[0] + inner_top[-1]) / 2
    gaps = middle + np.array([(dx, 0) for dx in np.array([-6.6, -4.6, -2.4, 0, 2.4, 4.6, 6.6])])
    lines = np.stack([gaps + (0, -5), gaps + (0, 7)], 1)
    canvas.paint(cv2.min(canvas.stroke(lines, .3), cv2.min(teeth, hollow)), (.55, .45, .4), .6, multiply=True)
    edge = canvas.soften(canvas.stroke([inner_top], 1), .5)
    canvas.paint(cv2.min(edge, hollow), (.25, .18, .18), .8, multiply=True)


def paint_eye(scene, side):
    """One eye (-1: image left): socket shade, ball, iris, lids and lashes."""
    canvas, person = scene.canvas, scene.person
    points = person.landmarks[36:42] if side < 0 else person.landmarks[42:48]
    upper, lower = curve(points[:4]), curve(points[[3, 4, 5, 0]])
    eye = canvas.fill(np.concatenate([upper, lower[1:-1]]))
    makeup = 0 if person.masculine else float(np.square(person.hair).sum() < .3) * .35
    canvas.paint(canvas.soften(eye, 1.5), (.45, .33, .32), .45 + makeup, multiply=True)
    white = to_linear((226, 214, 208))
    canvas.paint(eye, white * .95, light=scene.lit, label=LABEL["l_eye" if side > 0 else "r_eye"])
    inner = points[3] if side < 0 else points[0]
    canvas.paint(cv2.min(canvas.soften(canvas.disc(inner, 1.1), .3), eye), person.skin * (.7, .35, .35), .8)
    paint_iris(scene, points, eye)
    lid_shadow = cv2.min(canvas.soften(canvas.stroke([upper + (0, .5)], 1.3), .5), eye)
    canvas.paint(lid_shadow, (.16, .13, .13), .85, multiply=True)
    crease = curve(points[:4] + [(0, -.9), (0, -2.1), (0, -2.1), (0, -.9)])
    canvas.paint(canvas.soften(canvas.stroke([crease], .5), .3), (.22, .14, .12), .6, multiply=True)
    canvas.paint(canvas.soften(canvas.stroke([lower], .5), .2), (.3, .2, .18), .55, multiply=True)
    paint_lashes(scene, upper, lower, side)


def paint_iris(scene, points, eye):
    canvas, person, light = scene.canvas, scene.person, scene.light
    width = np.linalg.norm(points[3] - points[0])
    centre = points[[1, 2, 4, 5]].mean(0) + (-person.pose.yaw * 1.1, -.25)
    radius = width * .24
    level = scene.lit[:, int(centre[1] * canvas.scale), int(centre[0] * canvas.scale)] + .1
    for factor, tone, offset in ((1, .3, 0), (.84, 1, 0), (.6, 1.55, .25)):
        ring = canvas.soften(canvas.disc(centre + (0, offset * radius), radius * factor), .12)
        canvas.paint(cv2.min(ring, eye), person.iris * tone * level)
    canvas.paint(cv2.min(canvas.disc(centre, radius * .45), eye), (.004, .004, .004))
    glint = canvas.disc(centre + light.key[:2] * radius * .55, radius * .24)
    canvas.paint(cv2.min(glint, eye), (1, 1, 1), .95)


def paint_lashes(scene, upper, lower, side):
    canvas, person, rng = scene.canvas, scene.person, scene.rng
    ink = np.minimum(person.hair * .25, .02)
    lush = .7 if person.masculine else rng.uniform(.9, 1.5)
    canvas.paint(canvas.stroke([upper], .55 * lush), ink, .85)
    roots = upper[np.linspace(1, len(upper) - 1, 16).astype(int)]
    middle = upper.mean(0)
    outward = np.stack([(roots[:, 0] - middle[0]) * .16 + side * .35, np.full(16, -1.35)], 1)
    outward *= rng.uniform(.7, 1.2, (16, 1)) * lush
    lashes = np.stack([roots, roots + outward * .6 + (0, .12), roots + outward], 1)
    canvas.paint(canvas.stroke(lashes, .3), ink, .55)
    roots = lower[np.linspace(4, len(lower) - 5, 9).astype(int)]
    downward = np.stack([(roots[:, 0] - middle[0]) * .12, np.full(9, .8)], 1) * lush
    lashes = np.stack([roots, roots + downward], 1)
    canvas.paint(canvas.stroke(lashes, .25), ink, .25)


def paint_brow(scene, side):
    """One brow (-1: image left): a soft tapered shape under many short hairs."""
    canvas, person, rng = scene.canvas, scene.person, scene.rng
    points = person.landmarks[21:16:-1] if side < 0 else person.landmarks[22:27]
    middle = curve(points)
    t = np.linspace(0, 1, len(middle))[:, None]
    along = np.gradient(middle, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * side
    half = np.float64(1.35 if person.masculine else 1) * (1.35 - .95 * t**1.4) * np.minimum(.55 + 4 * t, 1)
    shape = canvas.fill(np.concatenate([middle - across * half, (middle + across * half)[::-1]]))
    colour = person.hair * .45 + person.skin * .02
    canvas.paint(canvas.soften(shape, .45), colour, .62, light=scene.lit)
    canvas.labels[shape > 127] = LABEL["l_brow" if side > 0 else "r_brow"]
    index = rng.integers(0, len(middle), 90)
    roots = middle[index] + across[index] * half[index] * rng.uniform(-1, .9, (90, 1))
    lean = t[index]
    heading = along[index] * (.35 + .65 * lean) - across[index] * (.8 - .75 * lean)
    length = rng.uniform(1, 2.1, (90, 1))
    hairs = np.stack([roots, roots + heading * length * .5, roots + heading * length + (0, .15)], 1)
    canvas.paint(canvas.stroke(hairs, .35), colour * .45, .75, light=scene.lit)
