"""Random changes of whole batches of images, in torch, where the batch lies. No mirroring: left stays left."""

import torch
from torch.nn.functional import affine_grid, grid_sample

from radfed.job import AugmentationSettings

_GAIN = 0.15
_GAMMA = (0.7, 1.5)
_TINY = 1e-7


class ImageChanges:
    """Turns, scales and shifts images, and changes their contrast and noise, each image with its own draws.

    The same changes as of segmentation patches, a batch at a time.

    Args:
        settings: how much and how often.
        device: where the images lie.
        seed: of all draws. They are the same on every device, but for the noise.
    """

    def __init__(self, settings: AugmentationSettings, device: torch.device, seed: int) -> None:
        self.settings = settings
        self._draws = torch.Generator().manual_seed(seed)
        self._noise = torch.Generator(device).manual_seed(seed)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Changed copies of float32 images ``(B, C, H, W)`` or ``(B, C, H, W, D)``.

        What comes in from outside is the nearest pixel of the edge.
        """
        images = images.clone()
        for probability, change in (
            (self.settings.affine_probability, self._moved),
            (self.settings.intensity_probability, self._brightened),
            (self.settings.intensity_probability, self._bent),
            (self.settings.noise_probability, self._blurred),
        ):
            # Which ones is decided on the CPU: a mask on the device would have to be waited for.
            chosen = (torch.rand(len(images), generator=self._draws) < probability).nonzero()[:, 0]
            if len(chosen):
                places = chosen.to(images.device)
                images[places] = change(images[places])
        return images

    def _moved(self, images: torch.Tensor) -> torch.Tensor:
        theta = self._affine(len(images), images.shape[2:]).to(images)
        grid = affine_grid(theta, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _affine(self, count: int, size: tuple[int, ...]) -> torch.Tensor:
        """``(count, n, n + 1)`` from places in the changed image to places in the image, in units of half its size."""
        axes = len(size)
        # Torch counts axes from the last to the first.
        half = torch.tensor(size[::-1], dtype=torch.float32) / 2
        linear = torch.diag_embed(1 + self._uniform(count, axes) * self.settings.scaling)
        for first, second in ((0, 1), (0, 2), (1, 2))[: 1 if axes == 2 else 3]:
            angle = self._uniform(count) * self.settings.rotation
            turn = torch.eye(axes).repeat(count, 1, 1)
            turn[:, first, first] = turn[:, second, second] = angle.cos()
            turn[:, first, second], turn[:, second, first] = -angle.sin(), angle.sin()
            linear = turn @ linear
        shift = self._uniform(count, axes) * self.settings.translation / half
        return torch.cat((linear * half / half[:, None], shift[:, :, None]), dim=2)

    def _brightened(self, images: torch.Tensor) -> torch.Tensor:
        return images * self._each(1 + _GAIN * self._uniform(len(images)), images)

    def _bent(self, images: torch.Tensor) -> torch.Tensor:
        """A gamma between the least and the largest value of an image."""
        low, high = _GAMMA
        gamma = self._each(low + (high - low) * (self._uniform(len(images)) + 1) / 2, images)
        flat = images.flatten(1)
        least = self._each(flat.amin(1), images)
        span = self._each(flat.amax(1), images) - least
        return ((images - least) / (span + _TINY)).pow(gamma) * span + least

    def _blurred(self, images: torch.Tensor) -> torch.Tensor:
        deviation = self.settings.noise * (self._uniform(len(images)) + 1) / 2
        noise = torch.randn(images.shape, generator=self._noise, device=images.device, dtype=images.dtype)
        return images + noise * self._each(deviation, images)

    def _uniform(self, *shape: int) -> torch.Tensor:
        """From -1 to 1."""
        return torch.rand(shape, generator=self._draws) * 2 - 1

    @staticmethod
    def _each(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """One number an image, to be combined with all of it."""
        return values.to(images).reshape(-1, *[1] * (images.dim() - 1))
