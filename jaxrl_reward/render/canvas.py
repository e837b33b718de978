"""A small anti-aliased canvas, and what all drawings share. Colours as in the figures."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 480, 320
TOP = 28  # pixels of the caption
SHARP = 3  # drawn so much larger, then reduced: smooth edges

PAPER, INK, MUTED, FAINT = "#FFFFFF", "#222222", "#8A8A8A", "#E4E4E4"
BLUE, RED, GREEN, PINK, SKY, ORANGE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00",
)  # fmt: skip

Point = Sequence[float] | np.ndarray


class Canvas:
    """A drawing in the world's own units: x to the right, y upwards.

    Args:
      centre: the point of the world in the middle of the picture.
      scale: pixels per unit.
    """

    def __init__(self, centre: Point = (0.0, 0.0), scale: float = 1.0):
        self._image = Image.new("RGB", (WIDTH * SHARP, HEIGHT * SHARP), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._centre, self._scale = np.asarray(centre, float), scale * SHARP

    def pixel(self, point: Point) -> tuple[float, float]:
        x, y = (np.asarray(point, float) - self._centre) * self._scale
        return float(x + WIDTH * SHARP / 2), float(HEIGHT * SHARP / 2 - y)

    def line(self, points: Sequence[Point] | np.ndarray, colour: str, width: float) -> None:
        """Through the points; `width` in pixels, with round ends."""
        pixels = [self.pixel(point) for point in points]
        self._draw.line(pixels, colour, max(1, round(width * SHARP)), joint="curve")
        for end in (pixels[0], pixels[-1]):
            self._disc(end, width * SHARP / 2, colour)

    def polygon(self, points: Sequence[Point] | np.ndarray, fill: str) -> None:
        self._draw.polygon([self.pixel(point) for point in points], fill)

    def disc(self, point: Point, radius: float, fill: str) -> None:
        """`radius` in the world's units."""
        self._disc(self.pixel(point), radius * self._scale, fill)

    def box(self, low: Point, high: Point, fill: str) -> None:
        (left, bottom), (right, top) = self.pixel(low), self.pixel(high)
        self._draw.rectangle((left, top, right, bottom), fill)

    def text(self, pixel: Point, words: str, colour: str, size: float) -> None:
        """Words from a pixel of the picture on, counted from its upper left corner."""
        place = (float(pixel[0]) * SHARP, float(pixel[1]) * SHARP)
        self._draw.text(place, words, fill=colour, font=ImageFont.load_default(size * SHARP))

    def paste(self, pixels: np.ndarray) -> None:
        """Another's picture, uint8 `[H, W, 3]`, as large as fits below the caption."""
        picture, space = Image.fromarray(pixels), (HEIGHT - TOP) * SHARP
        scale = min(WIDTH * SHARP / picture.width, space / picture.height)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        kind = Image.Resampling.NEAREST if scale > 1.0 else Image.Resampling.BOX
        corner = ((WIDTH * SHARP - size[0]) // 2, TOP * SHARP + (space - size[1]) // 2)
        self._image.paste(picture.resize(size, kind), corner)

    def _disc(self, pixel: tuple[float, float], radius: float, fill: str) -> None:
        x, y = pixel
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill)

    def finish(self, caption: str = "") -> Image.Image:
        """The picture, `WIDTH` by `HEIGHT`, with a caption in its corner."""
        image = self._image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        if caption:
            font = ImageFont.load_default(13)
            ImageDraw.Draw(image).text((10, 8), caption, fill=INK, font=font)
        return image


def blend(colour: str, other: str, share: float) -> str:
    """A colour between two."""
    a, b = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (colour, other))
    return "#" + "".join(f"{round(value):02X}" for value in a + (b - a) * share)
