"""Draws shapes with Pillow, as a person would, for models of the embedded default.

None of it is shared with the generator of the training pictures: other code draws other
proportions, named colours, grounds and canvases from 64 to 512 pixels. A third is drawn with hard
edges, a third smoothly, and a third looks like a photograph: uneven light, blur, noise, JPEG.

    python bench/drawings/draw.py FOLDER [COUNT] [SEED]

Writes FOLDER/drawings.jsonl (rows of `dataset_format: vqa`, with columns that say how each was
drawn) and the pictures beside it.
"""

import json
import math
import random
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

COLORS = {
    "red": ["red", "crimson", "#e02020", "firebrick", "#ff3b30"],
    "green": ["green", "limegreen", "forestgreen", "#2ecc40", "seagreen"],
    "blue": ["blue", "royalblue", "#1f6feb", "dodgerblue", "mediumblue"],
    "yellow": ["yellow", "gold", "#ffdd00", "#f4d03f"],
    "purple": ["purple", "darkviolet", "darkorchid", "#8e44ad", "rebeccapurple"],
    "white": ["white", "whitesmoke", "#f8f8f8"],
}
SHAPES = ["circle", "square", "triangle", "cross", "star"]
DARK = ["black", "#101820", "#202020", "midnightblue", "#2b1b10", "#303030"]
LIGHT = ["white", "#f5f5f5", "ivory", "lightgray", "beige", "#d8e4f0", "#cccccc"]
MIDDLE = ["gray", "#707880", "tan", "#8b6b4a", "slategray"]
CANVASES = [64, 96, 128, 160, 200, 224, 256, 320, 384, 512]
STYLES = ["hard", "smooth", "photo"]


def regular(x, y, r, corners, turn, inner=None):
    """Corners of a regular polygon, or of a star with an inner radius."""
    count = corners if inner is None else 2 * corners
    points = []
    for i in range(count):
        radius = r if inner is None or i % 2 == 0 else r * inner
        angle = turn - math.pi / 2 + 2 * math.pi * i / count
        points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return points


def rotated(points, x, y, turn):
    cos, sin = math.cos(turn), math.sin(turn)
    return [(x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in points]


def draw_shape(draw, shape, x, y, r, fill, rng):
    turn = math.radians(rng.uniform(-12, 12)) if rng.random() < 0.5 else 0
    if shape == "circle":
        draw.ellipse([x - r, y - r, x + r, y + r], fill=fill)
    elif shape == "square":
        h = r * 0.85
        draw.polygon(rotated([(-h, -h), (h, -h), (h, h), (-h, h)], x, y, turn), fill=fill)
    elif shape == "triangle":
        if rng.random() < 0.5:
            draw.polygon(regular(x, y, r, 3, turn), fill=fill)
        else:
            draw.polygon(rotated([(0, -r), (r, r * 0.85), (-r, r * 0.85)], x, y, turn), fill=fill)
    elif shape == "cross":
        t = r * rng.choice([0.2, 0.25, 0.3, 0.35])
        for w, h in ((t, r), (r, t)):
            draw.polygon(rotated([(-w, -h), (w, -h), (w, h), (-w, h)], x, y, turn), fill=fill)
    else:
        draw.polygon(regular(x, y, r, 5, turn, rng.choice([0.382, 0.4, 0.45, 0.5])), fill=fill)


def place_shapes(count, rng):
    """Centres and radii as shares of the side; shapes do not touch."""
    while True:
        spots = []
        for _ in range(300):
            r = rng.uniform(0.1, 0.4) if count == 1 else rng.uniform(0.09, 0.2)
            x, y = (rng.uniform(r * 1.05, 1 - r * 1.05) for _ in range(2))
            if all(math.hypot(x - a, y - b) > (r + c) * 1.15 + 0.02 for a, b, c in spots):
                spots.append((x, y, r))
            if len(spots) == count:
                return spots


def distance(a, b):
    return math.dist(ImageColor.getrgb(a)[:3], ImageColor.getrgb(b)[:3])


def photographed(image, rng):
    """Uneven light, a soft lens, noise and JPEG, as a phone makes them."""
    side = image.width
    ramp = Image.linear_gradient("L").resize((side, side)).rotate(rng.choice([0, 90, 180, 270]))
    strength = rng.uniform(20, 90)
    shade = ramp.point(lambda v: round(255 - strength * v / 255))
    image = ImageChops.multiply(image, Image.merge("RGB", [shade] * 3))
    image = image.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.002, 0.008)))
    noise = Image.effect_noise((side, side), rng.uniform(5, 25))
    return ImageChops.add(image, Image.merge("RGB", [noise] * 3), 1, -128)


def one(rng, number):
    count = rng.choice([1, 1, 1, 1, 2, 3, 4])
    side = CANVASES[number % len(CANVASES)]
    style = STYLES[number // len(CANVASES) % len(STYLES)]
    kind, grounds = rng.choice([("dark", DARK), ("light", LIGHT), ("light", LIGHT), ("middle", MIDDLE)])
    ground = rng.choice(grounds)
    usable = {
        name: [c for c in shades if distance(c, ground) > 110] for name, shades in COLORS.items()
    }
    names = [name for name, shades in usable.items() if shades]
    alike = rng.choice(["shape", "color", "nothing"])
    shape, color = rng.choice(SHAPES), rng.choice(names)
    things = [
        (
            shape if count == 1 or alike == "shape" else rng.choice(SHAPES),
            color if count == 1 or alike == "color" else rng.choice(names),
        )
        for _ in range(count)
    ]
    scale = 1 if style == "hard" else 4
    image = Image.new("RGB", (side * scale, side * scale), ground)
    draw = ImageDraw.Draw(image)
    spots = place_shapes(count, rng)
    for (shape, color), (x, y, r) in zip(things, spots):
        at = [v * side * scale for v in (x, y, r)]
        draw_shape(draw, shape, *at, rng.choice(usable[color]), rng)
    if scale > 1:
        image = image.resize((side, side), Image.Resampling.BOX)
    if style == "photo":
        image = photographed(image, rng)
    shapes, colors = {s for s, _ in things}, {c for _, c in things}
    one_of_it = count == 1
    asked = []
    if len(shapes) == 1:
        asked.append(("shape", "What shape is it?" if one_of_it else "What shape are they?", *shapes))
    if len(colors) == 1:
        asked.append(("color", "What color is it?" if one_of_it else "What color are they?", *colors))
    asked.append(("count", "How many shapes are there?", str(count)))
    facts = {"ground": kind, "side": side, "style": style}
    if one_of_it:
        r = spots[0][2]
        facts["size"] = "small" if r < 0.17 else "middle" if r < 0.28 else "large"
    return image, style, asked, facts


def main():
    folder = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 2026)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "drawings.jsonl", "w") as rows:
        for number in range(count):
            image, style, asked, facts = one(rng, number)
            name = f"{number:03}.{'jpg' if style == 'photo' else 'png'}"
            image.save(folder / name, **({"quality": rng.randint(60, 90)} if style == "photo" else {}))
            for kind, question, answer in asked:
                row = {
                    "images": [name],
                    "texts": [{"user": question, "assistant": answer}],
                    "answer_type": kind,
                    **facts,
                }
                rows.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
