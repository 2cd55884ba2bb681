# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Hair and hats of the built-in faces: outlines, strands and their light."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.drawn.face_canvas import GRID, blobs, coordinates, curve, grain, resize
from data.drawn.face_shape import bell, to_linear


@dataclass(frozen=True)
class HairStyle:
    """Masks uint8 [w, w]: `front` before the face, `back` behind the neck; `hat` is None or a kind of hat."""

    front: np.ndarray
    back: np.ndarray
    strands: np.ndarray  # float32 [w, w], mean about 0: brightness of each strand relative to the mean
    hat: str | None
    cropped: bool  # shaved so short that skin shows through


def head_points(person, points):
    """Projects canonical head coordinates to image units, scaled by the person's head width."""
    return person.pose.project(np.asarray(points, np.float64) * (person.width, 1, 1))


def strand_field(canvas, person, rng, curl):
    """Returns strands float32 [w, w]: noise stretched along meridian-like lines from the parting."""
    x, y = coordinates(GRID)
    pole_x, pole_y = head_points(person, [(bell(rng, 9), -53, -14)])[0].tolist()
    middle, radius = float(person.pose.origin[0]), 50.0
    fall = np.clip((y - pole_y + 3) / radius, .06, 1)
    spread = np.sqrt(fall * (2 - fall))
    axis = pole_x + (middle - pole_x) * fall
    meridian = (x - axis) / spread
    phase, waves = rng.uniform(0, 6.28), rng.uniform(.12, .3)
    meridian = meridian + curl * (1.6 * np.sin(waves * y + phase + .05 * x) + 1.5 * grain(rng, 14, 10, GRID))
    across = resize((meridian * 4 + 512).astype(np.float32), canvas.width)
    along = resize((y * .17 + 1.2 * curl * grain(rng, 16, 16, GRID)).astype(np.float32), canvas.width)
    texture = rng.standard_normal((64, 1024), dtype=np.float32)
    locks = rng.standard_normal((64, 160), dtype=np.float32)
    texture = .6 * texture + .75 * cv2.resize(locks, (1024, 64), interpolation=cv2.INTER_LINEAR)
    return cv2.remap(texture, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def hairline(rng, kind, recede):
    """Returns the opening's upper edge, canonical (x, y) from image left to right, temples included."""
    high = -31 - recede
    if kind == "straight":
        low = rng.uniform(-17, -12)
        return [(-27, low + 4), (-18, low), (-8, low - .5), (0, low), (9, low - .5), (18, low), (27, low + 4)]
    if kind == "side":
        s = rng.choice([-1, 1])
        sweep = [(-27, -9), (-20, -15), (-10, -21), (2, -27), (12, high), (20, high + 5), (27, -17)]
        return sweep if s > 0 else [(-x, y) for x, y in reversed(sweep)]
    if kind == "curtain":
        return [(-25, -4), (-20, -14), (-11, -25), (0, high - 3), (11, -25), (20, -14), (25, -4)]
    peak = rng.uniform(-3, 2.5)
    right = [(13, high - .4 * peak), (24, -23 - recede * .6), (28.5, -13)]
    return [*((-x, y) for x, y in reversed(right)), (0, high + peak), *right]


def choose_hair(canvas, person, rng):
    """Draws a random HairStyle and rasterises its masks."""
    if person.masculine:
        kind = rng.choice(["short", "cropped", "bald", "medium", "long"], p=[.62, .12, .08, .12, .06])
    else:
        kind = rng.choice(["long", "medium", "up", "short"], p=[.55, .2, .16, .09])
    hat = rng.choice(["beanie", "cap", "brimmed"]) if rng.random() < .09 else None
    curl = rng.choice([.15, .5, 1.3, 2.6], p=[.4, .3, .2, .1])
    strands = strand_field(canvas, person, rng, curl)
    none = np.zeros_like(canvas.labels)
    if kind == "bald":
        return HairStyle(none, none, strands, hat, False)
    top, side = rng.uniform(4, 11) + curl, rng.uniform(.8, 4) + curl * (kind != "short")
    if kind == "cropped" or hat:
        top, side = 1.5, .6
    if kind == "up":
        side = rng.uniform(.5, 1.5)
    if kind in ("medium", "long"):
        side += rng.uniform(3, 7)  # falls outside the ears
    odds = [.55, .1, .25, .1] if kind == "short" else [.3, .17, .28, .25]
    fringe = rng.choice(["high", "straight", "side", "curtain"], p=odds)
    edge = "high" if kind in ("cropped", "up") else fringe
    recede = max(0, rng.normal(1, 3)) + (4 * person.age if person.masculine else 0)
    length = {"long": 140, "medium": rng.uniform(30, 55)}.get(kind, rng.uniform(-2, 9))
    window = face_window(rng, hairline(rng, edge, recede), length)
    arc = np.linspace(0, np.pi, 15)
    outer = np.stack([-(33 + side) * np.sign(np.cos(arc)) * np.abs(np.cos(arc)) ** .9,
                      -8 - (37.5 + top) * np.sin(arc) ** .85], 1)
    drop = np.linspace(-2, length, 5)
    bulge = side + (np.sin(np.linspace(.2, 2.2, 5)) * (4.5 if length > 20 else 0))
    fallen = np.stack([-(32.6 + bulge), drop], 1)
    if length < 20:
        fallen[-1] = (-29.5, length)
    outer = np.concatenate([fallen[::-1], outer, fallen * (-1, 1)])
    outline = head_points(person, np.insert(outer, 2, -15, 1))
    opening = head_points(person, np.insert(window, 2, -10, 1))
    outer, opening = canvas.fill(curve(outline, steps=4)), canvas.fill(curve(opening, steps=4))
    front = ragged(canvas, outer, opening, strands, curl)
    back = none
    if length > 20:
        back = ragged(canvas, outer, none, strands, curl)
    return HairStyle(front, back, strands, hat, kind == "cropped")


def face_window(rng, line, length):
    """Returns the opening in the front hair: hairline, then down both sides, canonical (x, y) [n, 2]."""
    if length < 20:
        sideburn = [(29.3, -6), (29, length * .6), (31, length + 3), (31, 60)]
    else:
        inset = rng.uniform(-4.5, 3.5)
        sideburn = [(29 - inset, -2), (28.5 - inset, 14), (27.5 - inset, 30), (24, 50), (22, 70), (24, 150)]
    left = [(-x, y) for x, y in reversed(sideburn)]
    return np.array([*left, *line, *sideburn], np.float64)


def ragged(canvas, outer, opening, strands, curl):
    """Returns a uint8 mask of hair inside `outer` and outside `opening`; strands roughen its edges."""
    fringe = 1.1 + .5 * min(curl, 1.5)
    inside = canvas.soften(outer, fringe).astype(np.float32) / 255 - .5
    outside = .5 - canvas.soften(opening, 1.2).astype(np.float32) / 255 if opening.any() else inside
    edge = np.minimum(inside, outside) + .13 * strands
    return np.clip((edge * 2.6 + .5) * 255, 0, 255).astype(np.uint8)


def hair_layer(scene):
    """Returns the lit hair colours, planar float32 [3, w, w], to be painted through the hair masks."""
    canvas, person, rng, style = scene.canvas, scene.person, scene.rng, scene.style
    x, y = coordinates(GRID)
    centre = head_points(person, [(0, -6, -14)])[0].tolist()
    radius = 46 * person.pose.scale
    squared = np.square((x - centre[0]) / (radius * .92)) + np.square(np.minimum(y - centre[1], 0) / radius)
    height = radius * .8 * np.sqrt(1 - np.minimum(squared, .97)) + 1.2 * grain(rng, 12, 22, GRID)
    planes, _ = scene.light.shade(height.astype(np.float32))
    covered = cv2.resize(style.front, (GRID, GRID), interpolation=cv2.INTER_AREA)
    inner = cv2.GaussianBlur(covered, (0, 0), 2.2).astype(np.float32) / 255
    # Hair shines in a band across the strands, where the head turns toward the light.
    band_y = centre[1] - radius * (.55 + .2 * float(scene.light.key[1]))
    band = np.exp(-np.square((y - band_y - np.square(x - centre[0]) / 130) / 6.5)) * (.4 + .6 * inner)
    gloss = resize((band * rng.uniform(.04, .22)).astype(np.float32), canvas.width)
    gloss = gloss * np.clip(.7 * style.strands + .6, 0, 1.8)
    tone = np.clip(1 + .36 * style.strands, .2, 2.4) * resize(.35 + .65 * inner, canvas.width)
    layer = np.empty_like(canvas.image)
    for channel, colour in enumerate(person.hair.tolist()):
        light = resize(planes[channel], canvas.width)
        layer[channel] = light * (colour * tone + gloss * (.4 + .6 * colour**.25))
    return layer


def hat_shape(canvas, person, kind):
    """Returns a uint8 mask [w, w] of a hat: kind is beanie, cap or brimmed."""
    arc = np.linspace(0, np.pi, 15)
    rise = {"beanie": 42, "cap": 38, "brimmed": 42}[kind]
    across = np.sign(np.cos(arc)) * np.abs(np.cos(arc)) ** .75
    crown = np.stack([-36.5 * across, -17 - rise * np.sin(arc) ** .7], 1)
    rim = np.array([(28, -20), (15, -23.5), (0, -24.5), (-15, -23.5), (-28, -20)])
    outline = head_points(person, np.insert(np.concatenate([crown, rim]), 2, -12, 1))
    mask = canvas.fill(curve(outline, closed=True))
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    if kind == "brimmed":
        brim = np.stack([56 * np.cos(turn), -23 + 6 * np.sin(turn) - 5 * np.abs(np.cos(turn)) ** 3,
                         -12 + 30 * np.sin(turn)], 1)
    elif kind == "cap":
        brim = np.stack([25 * np.cos(turn), -22 + 5 * np.sin(turn), 12 + 4 * np.sin(turn)], 1)
    else:
        return mask
    return cv2.max(mask, canvas.fill(head_points(person, brim)))


def paint_hat(scene, label):
    """Paint the hat, if the style has one: knit, plain cloth or felt with a band."""
    if scene.style.hat is None:
        return
    canvas, person, rng, kind = scene.canvas, scene.person, scene.rng, scene.style.hat
    mask = hat_shape(canvas, person, kind)
    small = cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_AREA)
    height = 30 * cv2.GaussianBlur(small, (0, 0), 7).astype(np.float32) / 255
    centre = head_points(person, [(0, -22, -10)])[0].tolist()
    height += blobs([centre], [(60, 2.4)], [-2.5]) + .8 * grain(rng, 12, 16, GRID)
    planes, _ = scene.light.shade(height.astype(np.float32))
    x, y = coordinates(canvas.width)
    texture = 1 + .06 * grain(rng, 200, 200, canvas.width)
    if kind == "beanie":
        rib = np.sin((x - centre[0]) * 2.6) * .16 + np.sin(y * 3.4 + np.sin((x - centre[0]) * 2.6)) * .08
        texture = texture + rib
    colour = to_linear(rng.uniform(10, 235, 3) * rng.choice([.4, .8, 1]))
    light = [resize(plane, canvas.width) * texture for plane in planes]
    canvas.paint(mask, colour, light=light, label=label)
    arch = [(t, -25.5 - 2.5 * (1 - (t / 33) ** 2), -12) for t in np.linspace(-33, 33, 13)]
    band = head_points(person, arch)
    strip = cv2.min(canvas.stroke([band], 4 if kind == "brimmed" else .5), mask)
    canvas.paint(strip, (.35, .35, .38), .7, multiply=True)
