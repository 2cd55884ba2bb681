# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Paints one person, from the backdrop to the glasses. Every class label comes from a painted shape.

The order is back to front: backdrop, hair behind the neck, neck, clothes, ears, skin, nose, mouth,
eyes, brows, glasses, hair, hat. A later shape overwrites the pixels and labels of earlier ones.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data.drawn.face_canvas import GRID, Canvas, Light, blobs, coordinates, curve, grain, resize
from data.drawn.face_features import paint_brow, paint_eye, paint_mouth, paint_nose
from data.drawn.face_hair import HairStyle, choose_hair, hair_layer, hat_shape, head_points, paint_hat
from data.drawn.face_shape import Person, to_linear
from data.face_parts import LABEL


@dataclass
class Scene:
    """Shared state of the painting functions; `lit` [3, w, w] and `shine` [w, w] are the light on the face."""

    canvas: Canvas
    light: Light
    person: Person
    rng: np.random.Generator
    style: HairStyle
    lit: np.ndarray
    shine: np.ndarray


def draw_portrait(person, size, rng):
    """Paints a person; returns (image uint8 [size, size, 3] RGB, labels uint8 [size, size])."""
    canvas, light = Canvas(size), Light(rng)
    style = choose_hair(canvas, person, rng)
    face = face_mask(canvas, person)
    cover = style.front if style.hat is None else cv2.max(style.front, hat_shape(canvas, person, style.hat))
    lit, shine = face_light(light, canvas, person, cover)
    scene = Scene(canvas, light, person, rng, style, lit, shine)
    paint_backdrop(canvas, rng)
    hair = hair_layer(scene)
    canvas.paint(style.back, hair * np.float32(.45), label=LABEL["hair"])
    paint_neck(scene, face)
    paint_clothes(scene)
    paint_ears(scene)
    paint_skin(scene, face)
    paint_ageing(scene, face)
    paint_nose(scene)
    paint_mouth(scene)
    if person.masculine:
        paint_beard(scene, face)
    for side in (-1, 1):
        paint_eye(scene, side)
        paint_brow(scene, side)
    paint_glasses(scene)
    canvas.paint(style.front, hair, .62 if style.cropped else 1, label=LABEL["hair"])
    paint_hat(scene, LABEL["hat"])
    paint_earrings(scene)
    return canvas.finish(rng)


def face_contour(person):
    """Returns the skin's edge as a closed curve [n, 2]: jaw from ear to ear, then over the forehead."""
    jaw = person.landmarks[:17]
    return np.concatenate([curve(jaw), curve([jaw[16], *person.forehead, jaw[0]])[1:-1]])


def face_mask(canvas, person):
    return canvas.fill(face_contour(person))


def face_relief(person):
    """Returns float32 [GRID, GRID], the face's height toward the camera in units: a dome plus Gaussian bumps."""
    contour, p = face_contour(person).astype(np.float32), person.landmarks
    x, y = coordinates(GRID)
    middle = contour[:, 0].mean()
    edges = []
    for side in (contour[contour[:, 0] < middle], contour[contour[:, 0] >= middle]):
        side = side[np.argsort(side[:, 1])]
        edges.append(np.interp(y[:, 0], side[:, 1], side[:, 0])[:, None].astype(np.float32))
    half = np.maximum((edges[1] - edges[0]) / 2, 6)
    t = np.minimum(np.abs(x - (edges[0] + edges[1]) / 2) / half, 1)
    top, bottom = contour[:, 1].min(), contour[:, 1].max()
    s = np.minimum(np.abs(y - (top + bottom) / 2) / ((bottom - top) / 2 + 2), 1)
    dome = 27 * np.sqrt((1 - t**2.5) * (1 - s**3.4))
    eyes = [p[36:42].mean(0), p[42:48].mean(0)]
    brows = [p[17:22].mean(0), p[22:27].mean(0)]
    muzzle, fold = (p[62] + p[66]) / 2, 1 + person.smile
    cheeks = [eyes[0] * .8 + p[2] * .2 + (0, 11), eyes[1] * .8 + p[14] * .2 + (0, 11)]
    bumps = [  # centre, (x radius, y radius), height
        (p[27], (2.4, 4), 2.4), (p[28], (2.4, 4), 3.2), (p[29], (2.7, 3.6), 4), (p[30], (3.6, 3.2), 5.2),
        (p[30] + (0, .5), (2.4, 2.2), 1.6), (p[31] + (-.2, -1.6), (2.3, 1.9), 2.9),
        (p[35] + (.2, -1.6), (2.3, 1.9), 2.9), ((p[27] + p[21:23].mean(0)) / 2, (4, 5), -1),
        *((eye, (6.2, 3.6), -4.2) for eye in eyes), *((eye, (3.9, 2.3), 2.3) for eye in eyes),
        *((brow, (8.5, 2.6), 1.7) for brow in brows),
        *((cheek, (7, 5.5), .8 + 1.6 * fold) for cheek in cheeks),
        (p[51], (6.5, 1.5), 1.1), (p[57], (5, 1.7), 1.6), (p[51] - (0, 3), (1.2, 2.2), -.7),
        (p[57] + (0, 3.4), (6, 1.6), -1.6), (p[8] - (0, 4), (6.5, 4.5), 2.6), (muzzle, (11, 8), 2.4),
        (p[48], (2, 2), -.9), (p[54], (2, 2), -.9), ((p[31] + p[48]) / 2, (2, 4.2), .4 - fold),
        ((p[35] + p[54]) / 2, (2, 4.2), .4 - fold)]
    centres, radii, heights = zip(*bumps, strict=True)
    relief = cv2.GaussianBlur(dome, (0, 0), 1.3) + blobs(centres, radii, heights)
    return relief.astype(np.float32) * np.float32(person.pose.scale)


def face_light(light, canvas, person, cover):
    """Returns the light on the face (planar [3, w, w], specular [w, w]), with shadows of hair, hat and nose."""
    p = person.landmarks
    nose = canvas.fill([p[27], p[31] - (1, 1.5), p[33], p[35] + (1, -1.5)])
    shadow = .62 * light.cast(cover, 4.5, 2.2) + .5 * np.maximum(
        light.cast(nose, 6, 1.2) - light.cast(nose, 0, .9), 0)
    planes, shine = light.shade(face_relief(person), np.minimum(shadow, .8))
    return np.stack([resize(plane, canvas.width) for plane in planes]), resize(shine, canvas.width)


def paint_backdrop(canvas, rng):
    """A gradient, soft shapes out of focus, sometimes edges or stripes."""
    x, y = coordinates(GRID)
    first, second = to_linear(rng.uniform(0, 255)), to_linear(rng.uniform(0, 255))
    colourful = rng.random() ** 1.5 * .9
    first, second = (c * (1 + colourful * rng.uniform(-1, 1, 3)) for c in (first, second))
    angle = np.float32(rng.uniform(0, 2 * np.pi))
    ramp = np.clip((x - 64) * np.cos(angle) / 128 + (y - 64) * np.sin(angle) / 128 + .5, 0, 1)
    scene = cv2.merge([np.float32(a) + np.float32(b - a) * ramp for a, b in zip(first, second, strict=True)])
    for _ in range(rng.integers(0, 14)):
        colour = tuple(float(v) for v in np.clip(first * rng.uniform(.2, 2.2) + rng.normal(0, .08, 3), 0, 1))
        corner = rng.integers(-10, 138, 2)
        far = corner + rng.integers(4, 60, 2)
        if rng.random() < .5:
            cv2.circle(scene, corner.tolist(), int(rng.integers(3, 22)), colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(scene, corner.tolist(), far.tolist(), colour, -1)
    if rng.random() < .18:
        stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(1.2, 4))
        scene *= (1 + .18 * np.sign(stripes))[..., None]
    scene = cv2.GaussianBlur(scene, (0, 0), float(rng.choice([.8, 2.5, 5, 9])))
    scene = cv2.resize(scene, (canvas.width, canvas.width), interpolation=cv2.INTER_LINEAR)
    canvas.image[:] = np.maximum(cv2.split(scene), 0)


def paint_neck(scene, face):
    """Neck as a cylinder, darkened under the chin; sometimes a necklace."""
    canvas, person, rng = scene.canvas, scene.person, scene.rng
    p, x, y = person.landmarks, *coordinates(GRID)
    centre = p[8, 0] * .4 + (p[4, 0] + p[12, 0]) * .3
    half = (20.5 + 2.5 * person.masculine) * person.pose.scale
    top, base = p[4, 1], p[8, 1] + 6
    left = curve([(centre - half, top), (centre - half * .98, base), (centre - half * 1.3, base + 7),
                  (centre - half * 2.4, base + 15), (centre - half * 2.5, 135)])
    mask = canvas.fill(np.concatenate([left, ((2 * centre, 0) - left * (1, -1))[::-1]]))
    t = np.clip((x - centre) / (half * 1.15), -1, 1)
    height = np.sqrt(1 - t * t) * half * .9 + 0 * y
    tendons = [(centre - half * .45, base), (centre + half * .45, base)]
    height = height + blobs(tendons, [(2.2, 14)] * 2, [1.2] * 2)
    shadow = np.maximum(scene.light.cast(face, 9, 3), .65 * scene.light.cast(face, 2, 3.5))
    planes, _ = scene.light.shade(height.astype(np.float32), .8 * shadow)
    occlusion = 1 - .45 * cv2.GaussianBlur(cv2.resize(face, (GRID, GRID)), (0, 0), 4).astype(np.float32) / 255
    canvas.paint(mask, person.skin, light=[plane * occlusion for plane in planes], label=LABEL["neck"])
    if rng.random() < (.1 if person.masculine else .3):
        paint_necklace(scene, centre, half, base)


def paint_necklace(scene, centre, half, base):
    rng, canvas = scene.rng, scene.canvas
    t = np.linspace(-1, 1, 25)
    drop = rng.uniform(5, 10)
    chain = np.stack([centre + t * half * 1.05, base - 2 + drop * (1 - t * t)], 1)
    metal = to_linear([(214, 176, 92), (205, 205, 210), (60, 50, 50)][rng.integers(3)])
    width = rng.choice([.6, 1.1])
    canvas.paint(canvas.stroke([chain + (.2, .8)], width), (.3, .25, .25), .5, multiply=True)
    canvas.paint(canvas.stroke([chain], width + .5), metal * .7, label=LABEL["neck_l"])
    for centre_of_bead in chain[::2]:
        canvas.paint(canvas.disc(centre_of_bead, width * .8), metal * 1.5, label=LABEL["neck_l"])


def paint_clothes(scene):
    """Shoulders with a round, pointed or high neckline and a woven or striped cloth."""
    canvas, rng, p = scene.canvas, scene.rng, scene.person.landmarks
    centre, base = p[8, 0] * .5 + 32, p[8, 1] + rng.uniform(1, 7)
    opening, depth = rng.uniform(17, 27), rng.uniform(-1, 14)
    shoulder = rng.uniform(6, 14)
    edge = [(-20, base + shoulder + 9), (centre - 46, base + shoulder), (centre - opening, base)]
    neckline = curve([edge[2], (centre - opening * .55, base + depth * .7), (centre, base + depth),
                      (centre + opening * .55, base + depth * .7), (centre + opening, base)])
    right = [(2 * centre - x, y) for x, y in reversed(edge[:2])]
    right[-1] = (150, right[-1][1])
    shoulders = [curve(edge), neckline, curve([neckline[-1], *right]), [(150, 150), (-20, 150)]]
    mask = canvas.fill(np.concatenate(shoulders))
    soft = cv2.GaussianBlur(cv2.resize(mask, (GRID, GRID)), (0, 0), 5).astype(np.float32) / 255
    planes, _ = scene.light.shade(16 * soft + 1.2 * grain(rng, 9, 14, GRID))
    x, y = coordinates(canvas.width)
    weave = .05 * grain(rng, 200, 200, canvas.width)
    if rng.random() < .3:
        weave = weave + .3 * np.sign(np.sin((x * rng.uniform(-1, 1) + y) * rng.uniform(.5, 1.6)))
    colour = to_linear(rng.uniform(10, 250, 3) * rng.choice([.35, .7, 1]))
    light = [resize(plane, canvas.width) * (1 + weave) for plane in planes]
    canvas.paint(canvas.soften(mask, 1), (.45, .42, .42), .6, multiply=True)
    canvas.paint(mask, colour, light=light, label=LABEL["cloth"])
    seam = neckline + (0, rng.uniform(1, 2.5))
    canvas.paint(canvas.stroke([seam], .5), (.5, .5, .5), .7, multiply=True)


def paint_ears(scene):
    """Both ears, behind the face."""
    canvas, person = scene.canvas, scene.person
    outline = np.array([(30, -4, -19), (32.5, -7.5, -22), (35.8, -7, -26), (37, -1, -26), (35.8, 6, -24),
                        (33.8, 12, -21), (31.5, 14, -18), (29.5, 8, -17)])
    ears = {side: head_points(person, outline * (side, 1, 1)) for side in (-1, 1)}
    masks = {side: canvas.fill(curve(points, closed=True)) for side, points in ears.items()}
    both = cv2.resize(cv2.max(masks[-1], masks[1]), (GRID, GRID), interpolation=cv2.INTER_AREA)
    height = cv2.GaussianBlur(both, (0, 0), 1.6).astype(np.float32) / 50
    planes, _ = scene.light.shade(height, .5 * scene.light.cast(scene.style.front, 3, 2))
    for side, points in ears.items():
        tone = person.skin * (1.02, .9, .88)
        canvas.paint(masks[side], tone, light=planes, label=LABEL["l_ear" if side > 0 else "r_ear"])
        centre = points.mean(0)
        fold = canvas.soften(canvas.stroke([curve(centre + (points[:5] - centre) * .6)], .9), .35)
        canvas.paint(fold, (.5, .38, .35), .75, multiply=True)
        canal = canvas.soften(canvas.disc(centre, 1.6, 1.8), .6)
        canvas.paint(canal, (.4, .28, .25), .7, multiply=True)


def paint_skin(scene, face):
    """Skin: tone, redness, mottling, pores and freckles under the face's light, with some gloss."""
    canvas, person, rng, p = scene.canvas, scene.person, scene.rng, scene.person.landmarks
    mottle = grain(rng, 20, 20, GRID)
    cheeks = [p[36:42].mean(0) + (-2, 13), p[42:48].mean(0) + (2, 13), p[30], p[8]]
    flush = blobs(cheeks, [(7, 6), (7, 6), (4, 4), (8, 4)], [1, 1, .8, .4]) * rng.uniform(.02, .13)
    red = resize((flush + .018 * mottle).astype(np.float32), canvas.width)
    pores = 1 + rng.uniform(.012, .03) * grain(rng, 220, 220, canvas.width)
    pores += .018 * resize(mottle, canvas.width)
    if rng.random() < .22 and person.skin[0] > .25:
        spots = np.maximum(grain(rng, 90, 90, canvas.width) - 1.5, 0)
        where = np.minimum(flush / flush.max() * np.float32(1.6), 1)
        pores -= rng.uniform(.1, .3) * spots * resize(where, canvas.width)
    gloss = scene.shine * np.float32(rng.uniform(.04, .2)) * pores
    layer = np.empty_like(canvas.image)
    for channel, (tone, pull) in enumerate(zip(person.skin, (.25, -1, -.8), strict=True)):
        layer[channel] = scene.lit[channel] * tone * pores * (1 + pull * red) + gloss
    canvas.paint(face, layer, label=LABEL["skin"])


def paint_ageing(scene, face):
    """Folds beside the nose, lines on the forehead and at the eyes, shade under the eyes."""
    canvas, person, rng, p = scene.canvas, scene.person, scene.rng, scene.person.landmarks
    fold_depth = .12 + .3 * person.age + .25 * person.smile
    folds = [curve([p[31] + (-1.5, -2.5), p[31] * .55 + p[48] * .45 + (-2.6, -1), p[48] + (-2.2, -.5)]),
             curve([p[35] + (1.5, -2.5), p[35] * .55 + p[54] * .45 + (2.6, -1), p[54] + (2.2, -.5)])]
    canvas.paint(canvas.soften(canvas.stroke(folds, .8), .7), (.35, .25, .22), fold_depth, multiply=True)
    bags = [curve(p[[39, 40, 41, 36]] + (0, 2.2)), curve(p[[42, 47, 46, 45]] + (0, 2.2))]
    canvas.paint(canvas.soften(canvas.stroke(bags, 1), .6), (.5, .4, .4), .2 + .5 * person.age, multiply=True)
    if person.age < .5:
        return
    lines = []
    for lift in np.arange(rng.integers(2, 5)) * 3.6 + 7:
        ends = np.sort(rng.uniform(-.1, 1.1, 2) * .4 + (0, .6))[:, None]
        line = np.linspace(*(p[18] + (p[25] - p[18]) * ends), 9)
        lines.append(line - np.stack([np.zeros(9), lift + 1.6 * np.sin(np.linspace(0, np.pi, 9))], 1)
                     + rng.normal(0, .3, (9, 2)))
    for corner, out in ((p[36], -1), (p[45], 1)):
        for slope in (-1.6, 0, 1.6):
            lines.append(np.array([corner + (out * 1.8, slope * .4), corner + (out * 5.5, slope * 1.5)]))
    marks = cv2.min(canvas.soften(canvas.stroke(lines, .6), .45), face)
    canvas.paint(marks, (.4, .3, .27), .45 * person.age, multiply=True)


def paint_beard(scene, face):
    """Stubble, moustache, goatee or full beard on the skin (which keeps its label, as in CelebAMask-HQ)."""
    canvas, person, rng, p = scene.canvas, scene.person, scene.rng, scene.person.landmarks
    kind = rng.choice(["none", "stubble", "full", "goatee", "moustache"], p=[.4, .28, .16, .08, .08])
    if kind == "none":
        return
    jaw = curve(p[1:16])
    lip = [p[54] + (2, -3), p[35] + (1, 3.5), p[33] + (0, 2.2), p[31] + (-1, 3.5), p[48] + (-2, -3)]
    cheek = curve([p[15], p[14] * .75 + p[35] * .25, p[54] * .6 + p[13] * .4, *lip,
                   p[48] * .6 + p[3] * .4, p[2] * .75 + p[31] * .25, p[1]])
    region = np.concatenate([jaw, cheek])
    if kind == "goatee":
        region = curve([p[7], p[9], p[54] + (2.5, 2), p[54] + (1, -2), p[33] + (0, 2.5), p[48] + (-1, -2),
                        p[48] + (-2.5, 2)], closed=True)
    elif kind == "moustache":
        region = curve([p[33] + (0, 2), p[35] + (1, 4), p[54] + (2, 2), p[52] + (2, -.3), p[51],
                        p[50] + (-2, -.3), p[48] + (-2, 2), p[31] + (-1, 4)], closed=True)
    lips = canvas.fill(np.concatenate([curve(p[48:55]), curve(p[[54, 55, 56, 57, 58, 59, 48]])]))
    mouth = canvas.soften(lips, .3)
    soft = canvas.soften(canvas.fill(region), 1.5 if kind != "stubble" else 2.8)
    hairs = grain(rng, 56, 230, canvas.width)
    density = .38 if kind == "stubble" else 1
    alpha = np.clip(soft * (density * (.95 + .3 * hairs)), 0, 255 * density).astype(np.uint8)
    alpha = cv2.min(cv2.min(alpha, cv2.bitwise_not(mouth)), face)
    tint = np.clip(1 + .3 * hairs + .2 * grain(rng, 40, 120, canvas.width), .3, 2)
    canvas.paint(alpha, person.hair * .8, light=scene.lit * tint)


def paint_glasses(scene):
    """Clear or dark glasses over the eyes; eyes and brows keep their labels behind clear lenses."""
    canvas, person, rng = scene.canvas, scene.person, scene.rng
    if rng.random() > .16:
        return
    dark = rng.random() < .4
    width, squash, exponent = rng.uniform(8.8, 10.6), rng.uniform(.62, .9), rng.choice([2, 2.6, 4])
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    x, y = np.sign(c) * np.abs(c) ** (2 / exponent), np.sign(s) * np.abs(s) ** (2 / exponent) * squash
    lenses = [head_points(person, np.stack([centre + x * width, 1.5 + y * width, 6.5 - 3.5 * np.abs(x)], 1))
              for centre in (-14, 14)]
    bridge = curve(head_points(person, [(width - 14, 0, 5), (0, -2.6, 8), (14 - width, 0, 5)]))
    temples = [head_points(person, [(s * (14 + width), -1, 2), (s * 32.5, -2, -18)]) for s in (-1, 1)]
    lens = canvas.fill(*lenses)
    rims = np.concatenate([lenses, [contour[:1] for contour in lenses]], 1)
    frame = cv2.max(canvas.stroke(rims, rng.choice([.8, 1.5, 2.2])), canvas.stroke([bridge, *temples], 1.1))
    ink = to_linear([(20, 18, 18), (60, 30, 16), (150, 140, 120), (120, 20, 30)][rng.integers(4)])
    clear_labels = canvas.labels.copy()
    canvas.paint(canvas.soften(frame, .8), (.4, .35, .35), .6, multiply=True)
    tint = to_linear(rng.uniform(20, 60, 3)) if dark else (.92, .95, .95)
    canvas.paint(lens, tint, .9 if dark else 1, label=LABEL["eye_g"], multiply=True)
    glare = canvas.fill(lenses[0][[20, 26, 38, 34]], lenses[1][[20, 26, 38, 34]])
    canvas.paint(canvas.soften(cv2.min(glare, lens), .8), (.9, .95, 1), rng.uniform(.05, .25))
    if not dark:
        behind = (lens > 127) & (clear_labels >= LABEL["l_eye"]) & (clear_labels <= LABEL["r_brow"])
        canvas.labels[behind] = clear_labels[behind]
    canvas.paint(frame, ink * scene.lit.mean((1, 2)), label=LABEL["eye_g"])


def paint_earrings(scene):
    """Studs, hoops or drops at the ear lobes that hair does not cover."""
    canvas, person, rng = scene.canvas, scene.person, scene.rng
    if rng.random() > (.05 if person.masculine else .45):
        return
    kind = rng.integers(3)
    metal = to_linear([(226, 190, 110), (220, 220, 226), (90, 190, 200)][rng.integers(3)])
    for side, ear in ((-1, "r_ear"), (1, "l_ear")):
        lobe = head_points(person, [(side * 33.4, 13, -20)])[0]
        if not (canvas.labels == LABEL[ear]).sum() > 12 * canvas.scale**2:
            continue
        if kind == 0:
            mask = canvas.disc(lobe, 1.3)
        elif kind == 1:
            ring = np.linspace(0, 2 * np.pi, 25)
            mask = canvas.stroke([lobe + np.stack([3 * np.sin(ring), 3.2 - 3.6 * np.cos(ring)], 1)], .9)
        else:
            mask = cv2.max(canvas.stroke([[lobe, lobe + (0, 5)]], .5), canvas.disc(lobe + (0, 6.5), 1.7, 1.5))
        canvas.paint(mask, metal * scene.lit.mean((1, 2)) * 1.2, label=LABEL["ear_r"])
        canvas.paint(canvas.soften(canvas.disc(lobe + (-.4, 0), .4), .2), (1, 1, 1), .8)
