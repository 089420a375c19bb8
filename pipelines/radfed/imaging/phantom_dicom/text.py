"""Text drawn into pixels, as ultrasound machines and screen captures do."""

import numpy as np
from numpy.typing import NDArray

_MARGIN = 2


def draw_text(values: NDArray[np.int32], lines: tuple[str, ...]) -> NDArray[np.int32]:
    """Draw lines in the brightest value on the darkest one across the top of ``(rows, columns)``, as large as fits."""
    mask = text_mask(values.shape[0], values.shape[1], lines)
    used = np.flatnonzero(mask.any(axis=1))[-1] + 1 + _MARGIN
    drawn = values.copy()
    drawn[:used] = np.where(mask[:used], values.max(), values.min())
    return drawn


def text_mask(rows: int, columns: int, lines: tuple[str, ...]) -> NDArray[np.bool_]:
    """Where the strokes of the lines are, ``(rows, columns)``."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.new("L", (columns, rows), 0)
    draw = ImageDraw.Draw(canvas)
    longest = max(lines, key=len)
    for size in range(max(6, rows // (2 * len(lines))), 5, -1):
        font = ImageFont.load_default(size=size)
        if draw.textlength(longest, font=font) <= columns - 2 * _MARGIN or size == 6:
            break
    for number, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + number * (size + 2)), line, fill=255, font=font)
    strokes: NDArray[np.bool_] = np.asarray(canvas) > 127
    return strokes
