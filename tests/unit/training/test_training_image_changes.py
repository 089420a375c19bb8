import pytest
import torch

from radfed.job import AugmentationSettings
from radfed.training.picture_augment import ImageChanges

CPU = torch.device("cpu")
SHAPES = [(6, 2, 12, 16), (3, 1, 8, 10, 12)]


def settings(**changes: float) -> AugmentationSettings:
    nothing = {"affine_probability": 0.0, "intensity_probability": 0.0, "noise_probability": 0.0}
    return AugmentationSettings.check(nothing | changes, "test")


def images(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_one_seed_gives_one_batch_and_leaves_the_images_and_the_global_state_alone(shape: tuple[int, ...]) -> None:
    given = images(shape)
    before, state = given.clone(), torch.get_rng_state()
    first = ImageChanges(AugmentationSettings(), CPU, 7)(given)
    assert torch.equal(given, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(ImageChanges(AugmentationSettings(), CPU, 7)(given), first)
    assert not torch.equal(ImageChanges(AugmentationSettings(), CPU, 8)(given), first)
    assert first.shape == given.shape


@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_that_never_happens_changes_nothing(shape: tuple[int, ...]) -> None:
    assert torch.equal(ImageChanges(settings(), CPU, 0)(images(shape)), images(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_moving_by_nothing_is_the_identity(shape: tuple[int, ...]) -> None:
    still = settings(affine_probability=1.0, rotation=0.0, scaling=0.0, translation=0.0)
    torch.testing.assert_close(ImageChanges(still, CPU, 0)(images(shape)), images(shape), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 1, 24, 40), (16, 1, 20, 24, 32)])
def test_a_turn_keeps_distances_on_grids_that_are_no_squares(shape: tuple[int, ...]) -> None:
    """Two points stay as far apart as they were: a turn in units of the image would stretch it."""
    turned = settings(affine_probability=1.0, rotation=0.5, scaling=0.0, translation=0.0)
    axes = torch.stack(torch.meshgrid(*(torch.arange(s, dtype=torch.float32) for s in shape[2:]), indexing="ij"))
    centre = (torch.tensor(shape[2:]) - 1) / 2
    offset = torch.zeros(len(shape) - 2)
    offset[0], offset[-1] = 3.0, -4.0

    def blob(place: torch.Tensor) -> torch.Tensor:
        distance = ((axes - place.reshape(-1, *[1] * (len(shape) - 2))) ** 2).sum(0)
        return torch.exp(-distance / 2).expand(shape).contiguous()

    def found(changed: torch.Tensor) -> torch.Tensor:
        weights = changed[:, 0] / changed[:, 0].flatten(1).sum(1).reshape(-1, *[1] * (len(shape) - 2))
        return torch.stack([(weights * axis).flatten(1).sum(1) for axis in axes], dim=1)

    first = found(ImageChanges(turned, CPU, 3)(blob(centre + offset)))
    second = found(ImageChanges(turned, CPU, 3)(blob(centre - offset)))
    apart = (first - second).norm(dim=1)
    torch.testing.assert_close(apart, (2 * offset.norm()).expand(len(apart)), rtol=0.05, atol=0)
    assert (first - first[0]).abs().max() > 1, "each image has a turn of its own"


def test_nothing_is_mirrored_and_what_comes_in_is_the_edge() -> None:
    ramp = torch.linspace(0, 1, 32).repeat(64, 1, 32, 1)
    changed = ImageChanges(settings(affine_probability=1.0), CPU, 5)(ramp)
    assert (changed[..., 16, -4] > changed[..., 16, 3]).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_intensities_change_by_as_much_as_the_settings_say() -> None:
    ramp = torch.linspace(-2, 2, 64).repeat(200, 1, 8, 1)
    noise = ImageChanges(settings(noise_probability=1.0, noise=0.2), CPU, 1)(ramp) - ramp
    deviations = noise.flatten(1).std(1)
    assert deviations.max() < 0.23
    assert deviations.mean() == pytest.approx(0.1, abs=0.02)
    changed = ImageChanges(settings(intensity_probability=0.5), CPU, 1)(ramp)
    touched = (changed != ramp).flatten(1).any(1)
    # Two changes, each with a half.
    assert touched.float().mean() == pytest.approx(0.75, abs=0.1)
    assert (changed.diff(dim=-1) >= 0).all(), "what was brighter stays brighter"
