"""Intensity rules: bring what scanners export to one scale."""

import numpy as np
from numpy.typing import NDArray

from radfed.task import Intensity, PercentileClip, Window, ZScore

# A constant channel has no spread; dividing by this instead of 0 leaves it at 0.
_LEAST_SPREAD = 1e-6


def normalise(image: NDArray[np.float32], rule: Intensity) -> NDArray[np.float32]:
    """Apply the task's intensity rule to every channel of ``(C, ...)``: of a volume, or of one plane."""
    match rule:
        case Window():
            scaled = (np.clip(image, rule.lower, rule.upper) - rule.lower) / (rule.upper - rule.lower)
            return scaled.astype(np.float32)
        case PercentileClip():
            return np.stack([_zscore(_clip(channel, rule), nonzero=False) for channel in image])
        case ZScore():
            return np.stack([_zscore(channel, rule.nonzero) for channel in image])


def _clip(channel: NDArray[np.float32], rule: PercentileClip) -> NDArray[np.float32]:
    lower, upper = np.percentile(channel, [rule.lower, rule.upper])
    clipped: NDArray[np.float32] = np.clip(channel, np.float32(lower), np.float32(upper))
    return clipped


def _zscore(channel: NDArray[np.float32], nonzero: bool) -> NDArray[np.float32]:
    inside = channel[channel > 0] if nonzero and (channel > 0).any() else channel
    mean, spread = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
    scaled: NDArray[np.float32] = ((channel - mean) / max(float(spread), _LEAST_SPREAD)).astype(np.float32)
    return scaled
