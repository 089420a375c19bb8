"""What a site's training has cost its patients' privacy: kept on disk, and never less than what has left the site."""

import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import Field

from radfed.errors import InvalidInputError, RadfedError, TrainingError
from radfed.files import put_text
from radfed.job import PrivacySettings
from radfed.ledger import PrivacySpent
from radfed.settings import Settings

ACCOUNT = "account.json"
# Of Opacus' search for the noise.
_TOLERANCE = 0.01


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process out of an account, from its reading to what it wrote; a killed one lets go of it.

    Raises:
        TrainingError: another one is at it; two would each count their own round only, and both would leave.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError("another job of this training is at work at this site; abort that one first") from error
        yield


class PrivacyBudgetError(RadfedError):
    """One more update would cost the site's patients more than the job's budget."""

    reason = "privacy_budget"


class Stretch(Settings):
    """Steps with one noise and one sampling rate."""

    noise_multiplier: float = Field(gt=0)
    sampling_rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=0)


class Released(Settings):
    """The last update that may have left: asked for again, it is sent again, which costs nothing more."""

    round: int
    received: str = Field(description="Digest of the model that the site was given")
    update: str = Field(description="Digest of the update")


class Account(Settings):
    """Every step behind what may have left, as ``account.json``."""

    stretches: tuple[Stretch, ...] = ()
    released: Released | None = None

    @classmethod
    def open(cls, folder: Path, before: Stretch) -> Self:
        """The account in a folder.

        Args:
            folder: of one site and one training.
            before: what is counted where there is no file: the rounds before, as if the site had been in all of them.

        Raises:
            InvalidInputError: the file cannot be read; what was spent is not known, so nothing more may be.
        """
        path = folder / ACCOUNT
        if path.exists():
            return cls.read(path)
        return cls(stretches=(before,) if before.steps else ())

    def write(self, folder: Path) -> None:
        """Force the account to disk."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        put_text(folder / ACCOUNT, self.model_dump_json(indent=2) + "\n", durable=True)

    def after(self, more: Stretch, released: Released | None = None) -> Self:
        """The account once more steps were taken."""
        *before, last = self.stretches or (more.model_copy(update={"steps": 0}),)
        if (last.noise_multiplier, last.sampling_rate) == (more.noise_multiplier, more.sampling_rate):
            stretches = (*before, more.model_copy(update={"steps": last.steps + more.steps}))
        else:
            stretches = (*before, last, more)
        return type(self)(stretches=stretches, released=released or self.released)

    def admit(self, more: Stretch, settings: PrivacySettings) -> None:
        """Refuse steps that the budget does not bear.

        Raises:
            PrivacyBudgetError: they cost more than is left.
        """
        if settings.epsilon is None:
            return
        cost = epsilon_of(self.after(more).stretches, settings.delta)
        if cost > settings.epsilon:
            spent = epsilon_of(self.stretches, settings.delta)
            raise PrivacyBudgetError(
                f"privacy: another {more.steps} steps would bring epsilon from {spent:.3f} to {cost:.3f} at delta "
                f"{settings.delta:g}, and the job's budget is {settings.epsilon:g}; nothing more is sent"
            )

    def spent(self, settings: PrivacySettings) -> PrivacySpent | None:
        """What to tell the server; None while nothing was spent."""
        if not self.stretches:
            return None
        last = self.stretches[-1]
        return PrivacySpent(
            epsilon=epsilon_of(self.stretches, settings.delta),
            delta=settings.delta,
            noise_multiplier=last.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            sampling_rate=last.sampling_rate,
            steps=sum(stretch.steps for stretch in self.stretches),
        )


@lru_cache(maxsize=64)
def epsilon_of(stretches: tuple[Stretch, ...], delta: float) -> float:
    """Epsilon of all steps together, by Opacus' accountant of Rényi differential privacy."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(s.noise_multiplier, s.sampling_rate, s.steps) for s in stretches if s.steps]
    with _loose_bounds():
        return float(accountant.get_epsilon(delta=delta))


def noise_for(settings: PrivacySettings, sampling_rate: float, steps: int) -> float:
    """The noise multiplier that the job asks for, or the least with which so many steps fit into its budget.

    Raises:
        InvalidInputError: no noise is enough for the budget.
    """
    if settings.noise_multiplier is not None:
        return settings.noise_multiplier
    from opacus.accountants.utils import get_noise_multiplier

    assert settings.epsilon is not None  # settings have one of the two
    try:
        with _loose_bounds():
            found = get_noise_multiplier(
                target_epsilon=settings.epsilon,
                target_delta=settings.delta,
                sample_rate=sampling_rate,
                steps=steps,
                accountant="rdp",
                epsilon_tolerance=min(_TOLERANCE, settings.epsilon / 10),
            )
    except ValueError as error:
        raise InvalidInputError(
            f"training.privacy.epsilon: got {settings.epsilon:g}, and no noise brings {steps} steps below that; "
            "give a larger budget, or fewer steps"
        ) from error
    return float(found)


@contextmanager
def _loose_bounds() -> Iterator[None]:
    """Opacus says when more orders could give a smaller epsilon; the one that it gives is a bound all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        yield
