import numpy as np
from numpy.typing import NDArray


def image_array(seed: int, shape: tuple[int, int, int] = (12, 10, 8)) -> NDArray[np.float32]:
    return np.random.default_rng(seed).integers(1, 1000, size=(1, *shape)).astype(np.float32)


def label_array(shape: tuple[int, int, int] = (12, 10, 8), values: tuple[int, ...] = (1, 2)) -> NDArray[np.uint8]:
    array = np.zeros((1, *shape), dtype=np.uint8)
    for index, value in enumerate(values):
        array[0, 2 + index, 2:6, 2:6] = value
    return array
