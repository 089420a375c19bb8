"""What was spent: Opacus' own numbers, never less than what left, through kills, repeats and a lost file."""

import warnings
from pathlib import Path

import pytest
from opacus.accountants import RDPAccountant
from training_world import outcome_task, write_outcome_dataset  # type: ignore[import-not-found]

import radfed.training.session as module
from radfed.errors import InvalidInputError, TrainingError
from radfed.files import put_text
from radfed.job import Job, PrivacySettings
from radfed.site.approval import PrivacyDemandError
from radfed.site.config import SiteSettings
from radfed.training.initial import main as write_initial
from radfed.training.privacy_account import (
    ACCOUNT,
    Account,
    PrivacyBudgetError,
    Released,
    Stretch,
    epsilon_of,
    locked,
    noise_for,
)
from radfed.training.process import Request
from radfed.training.ranks import ALONE, Ranks
from radfed.training.session import Session
from radfed.weights import load_weights, save_weights, weights_digest

ROUNDS, STEPS, PATIENTS = 4, 5, 20
NONE = Stretch(noise_multiplier=1.0, sampling_rate=0.2, steps=0)


def never() -> bool:
    return False


def stretch(steps: int, noise: float = 1.1, rate: float = 0.2) -> Stretch:
    return Stretch(noise_multiplier=noise, sampling_rate=rate, steps=steps)


def by_opacus(*stretches: Stretch, delta: float = 1e-5) -> float:
    """Step by step, as Opacus' own engine does."""
    accountant = RDPAccountant()
    for part in stretches:
        for _ in range(part.steps):
            accountant.step(noise_multiplier=part.noise_multiplier, sample_rate=part.sampling_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(accountant.get_epsilon(delta))


def test_rounds_compose_as_opacus_accountant_says() -> None:
    account = Account()
    for part in (stretch(7), stretch(7), stretch(3, noise=0.8), stretch(2, rate=1.0)):
        account = account.after(part)
    assert [part.steps for part in account.stretches] == [14, 3, 2]
    expected = by_opacus(stretch(14), stretch(3, noise=0.8), stretch(2, rate=1.0))
    assert epsilon_of(account.stretches, 1e-5) == pytest.approx(expected, rel=1e-12)
    spent = account.spent(PrivacySettings(noise_multiplier=1.1))
    assert spent is not None
    assert (spent.steps, spent.sampling_rate) == (19, 1.0)


def test_more_steps_never_cost_less() -> None:
    costs = [epsilon_of((stretch(steps),), 1e-5) for steps in (1, 2, 10, 200, 3000)]
    assert costs == sorted(costs)
    assert costs[0] > 0


@pytest.mark.parametrize(("epsilon", "rate"), [(0.5, 1.0), (3.0, 1.0), pytest.param(8.0, 0.2, marks=pytest.mark.slow)])
def test_noise_for_a_budget_lets_the_planned_rounds_fit_and_hardly_more(epsilon: float, rate: float) -> None:
    settings = PrivacySettings(epsilon=epsilon)
    noise = noise_for(settings, rate, ROUNDS * STEPS)
    account = Account()
    for _ in range(ROUNDS):
        account.admit(stretch(STEPS, noise, rate), settings)
        account = account.after(stretch(STEPS, noise, rate))
    assert 0.8 * epsilon < epsilon_of(account.stretches, settings.delta) <= epsilon
    with pytest.raises(PrivacyBudgetError, match=f"the job's budget is {epsilon:g}"):
        account.admit(stretch(STEPS * ROUNDS, noise, rate), settings)


def test_an_account_outlives_its_process_and_a_broken_one_closes_the_door(tmp_path: Path) -> None:
    account = Account().after(stretch(5), Released(round=1, received="a", update="b"))
    account.write(tmp_path / "new")
    assert Account.open(tmp_path / "new", NONE) == account
    put_text(tmp_path / ACCOUNT, "{")
    with pytest.raises(InvalidInputError):
        Account.open(tmp_path, NONE)


def job_of(**privacy: float) -> Job:
    content = {
        "job": {
            "name": "private",
            "description": "d",
            "federation": {"rounds": ROUNDS, "local_steps": STEPS},
            "training": {"batch_size": PATIENTS, "warmup_steps": 0, "privacy": privacy or None},
        },
        "task": outcome_task(covariates=3).model_dump(mode="json"),
    }
    return Job.check(content, "test")


class Place:
    """One site on disk, whose session can be opened again and again, as after a kill."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.job = folder, job
        counts = {"training": PATIENTS, "validation": 6}
        self.data = write_outcome_dataset(folder / "data", "north", outcome_task(covariates=3), counts, seed=1)
        job.write_json(folder / "job.json")
        write_initial(folder / "job.json", folder / "weights-1.safetensors")
        (folder / "states").mkdir()
        self.out = folder / "out.safetensors"

    def open(self, ranks: Ranks = ALONE, **site: object) -> Session:
        settings = SiteSettings.check({"name": "north", "dataset": str(self.data), **site}, "test")
        return Session.open(self.folder / "job.json", settings.model_dump(mode="json"), "north", ranks)

    def ask(self, number: int, session: Session | None = None, do: str = "train") -> tuple[dict[str, object], str]:
        """A round from the same weights; the report and the digest of what may leave."""
        self.out.unlink(missing_ok=True)
        request = Request.check(
            {
                "do": do,
                "weights": self.folder / "weights-1.safetensors",
                "round": number,
                "out": self.out,
                "states": self.folder / "states",
                "account": self.folder / "account",
            },
            "test",
        )
        report = (session or self.open()).work(request, never)
        return report, weights_digest(load_weights(self.out)) if self.out.exists() else ""

    @property
    def epsilon(self) -> float:
        account = Account.open(self.folder / "account", NONE)
        return epsilon_of(account.stretches, 1e-5)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, job_of(noise_multiplier=1.1))


def spent(report: dict[str, object]) -> float:
    privacy = report["privacy"]
    assert isinstance(privacy, dict)
    return float(privacy["epsilon"])


def test_a_session_tells_what_it_has_spent_and_not_its_loss(place: Place) -> None:
    session = place.open()
    epsilons = [spent(place.ask(number, session)[0]) for number in (1, 2, 3)]
    assert epsilons == [by_opacus(stretch(STEPS * number, rate=1.0)) for number in (1, 2, 3)]
    report, _ = place.ask(3, session, do="validate")
    assert spent(report) == epsilons[-1]
    assert "loss" not in place.ask(4, session)[0]


def test_a_round_asked_for_again_is_answered_with_the_same_update_and_costs_nothing(place: Place) -> None:
    report, first = place.ask(1)
    again, second = place.ask(1)
    assert first == second
    assert spent(again) == spent(report)
    # The moments are those behind this update: the next round goes on from them.
    assert place.ask(2)[0]["optimiser"] == "kept"


def test_two_jobs_of_one_training_cannot_count_past_each_other(place: Place) -> None:
    place.ask(1)
    before = place.epsilon
    with locked(place.folder / "account"), pytest.raises(TrainingError, match="another job of this training"):
        place.ask(2)
    assert place.epsilon == before
    assert not place.out.exists()
    assert spent(place.ask(2)[0]) > before


def test_another_model_for_the_same_round_costs_again(place: Place) -> None:
    report, first = place.ask(1)
    changed = {name: array + 1 for name, array in load_weights(place.folder / "weights-1.safetensors").items()}
    save_weights(place.folder / "weights-1.safetensors", changed)
    again, second = place.ask(1)
    assert first != second
    assert spent(again) == by_opacus(stretch(2 * STEPS, rate=1.0)) > spent(report)


@pytest.mark.parametrize("moment", ["save_update", "write_account", "keep_state", "save_out"])
def test_a_kill_at_any_moment_leaves_no_update_that_was_not_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The trainer dies just before one of its four writes; what lies in the way out was counted before."""
    place.ask(1)
    before = place.epsilon
    writes: list[str] = []

    def dies(name: str, real: object) -> object:
        def write(*arguments: object) -> None:
            writes.append(name)
            if len(writes) - 1 == ["save_update", "write_account", "keep_state", "save_out"].index(moment):
                raise KeyboardInterrupt
            real(*arguments)  # type: ignore[operator]

        return write

    with monkeypatch.context() as patched:
        patched.setattr(module, "save_weights", dies("weights", save_weights))
        patched.setattr(Account, "write", dies("account", Account.write))
        with pytest.raises(KeyboardInterrupt):
            place.ask(2)
    assert not place.out.exists()
    counted = place.epsilon
    assert counted == (before if moment in ("save_update", "write_account") else by_opacus(stretch(10, rate=1.0)))
    report, _ = place.ask(2)
    assert spent(report) == place.epsilon == by_opacus(stretch(10, rate=1.0)) > before


def test_a_site_that_lost_its_account_counts_the_rounds_before_as_its_own(place: Place) -> None:
    assert spent(place.ask(3)[0]) == by_opacus(stretch(3 * STEPS, rate=1.0))


def test_beyond_its_budget_a_site_sends_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, job_of(epsilon=6.0))
    session = place.open()
    for number in range(1, ROUNDS + 1):
        report, _ = place.ask(number, session)
    assert 4.8 < spent(report) <= 6.0
    last = place.epsilon
    for repeated in (1, 2, 3):
        with pytest.raises(PrivacyBudgetError):
            place.ask(repeated)
        assert not place.out.exists()
    assert place.epsilon == last
    # What was counted may be sent again.
    assert spent(place.ask(ROUNDS)[0]) == last


def test_several_processes_are_refused(place: Place) -> None:
    with pytest.raises(InvalidInputError, match="training_processes: got 2"):
        place.open(Ranks(0, 2))


@pytest.mark.parametrize(
    ("privacy", "why"),
    [
        ({}, "has no training.privacy"),
        ({"noise_multiplier": 5.0}, "no budget"),
        ({"epsilon": 9.0}, "the job has 9 at 1e-05"),
        ({"epsilon": 4.0, "delta": 1e-3}, "the job has 4 at 0.001"),
    ],
)
def test_a_site_may_demand_privacy(privacy: dict[str, float], why: str, tmp_path: Path) -> None:
    demand = {"require_privacy": {"epsilon": 8.0}}
    with pytest.raises(PrivacyDemandError, match=why):
        Place(tmp_path, job_of(**privacy)).open(approval=demand)


def test_a_job_within_what_a_site_demands_is_trained(tmp_path: Path) -> None:
    place = Place(tmp_path, job_of(epsilon=8.0))
    assert spent(place.ask(1, place.open(approval={"require_privacy": {"epsilon": 8.0}}))[0]) < 8


def test_a_job_must_say_how_much_privacy_it_wants() -> None:
    with pytest.raises(InvalidInputError, match="give epsilon"):
        job_of(delta=1e-5)


def test_without_privacy_a_session_trains_as_its_trainer_does(tmp_path: Path) -> None:
    place = Place(tmp_path, job_of())
    report, session_weights = place.ask(1)
    trainer = place.open()
    trainer.trainer.train(trainer.training, 0, STEPS)
    assert session_weights == weights_digest(trainer.trainer.weights())
    assert "privacy" not in report
    assert "loss" in report
    assert not (place.folder / "account").exists()
