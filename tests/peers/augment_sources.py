"""The pictures that augment_golden.py changes: every value, few values, one value, sides of one pixel, and grey."""

import random

from PIL import Image, ImageDraw


def scene(width, height, seed):
    """A gradient in each channel, sharp edges, and noise that leaves out the ends of the range."""
    draw = random.Random(seed)
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            noise = draw.randrange(40)
            image.putpixel((x, y), (10 + 200 * x // width + noise, 30 + 150 * y // height, 20 + (x * 7 ^ y * 5) % 190))
    brush = ImageDraw.Draw(image)
    brush.rectangle((width // 4, height // 4, width // 2, height // 2), fill=(250, 240, 245))
    if min(width, height) > 8:
        brush.ellipse((width // 2, height // 2, width - 3, height - 3), fill=(12, 33, 200))
    return image


SOURCES = {
    "small": scene(33, 25, 1),
    "wide": scene(40, 17, 2),
    "square": scene(24, 24, 3),
    "flat": Image.new("RGB", (9, 7), (7, 130, 255)),
    "thin": scene(1, 12, 4),
    "pair": scene(2, 2, 5),
    "grey": scene(18, 23, 6).convert("L"),
}
