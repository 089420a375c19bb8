import numpy as np
import pytest
import torch
from training_world import outcome_samples, outcome_task  # type: ignore[import-not-found]

from radfed.errors import TrainingError
from radfed.job import TrainingSettings
from radfed.metrics.survival import concordance
from radfed.task import OutcomeTask
from radfed.training.outcome import OutcomeTrainer, draws
from radfed.training.outcome_samples import OutcomeSample
from radfed.training.outcome_scores import by_case, overall
from radfed.weights import weights_digest

CPU = torch.device("cpu")
STEPS = 60
SETTINGS = TrainingSettings(batch_size=16, learning_rate=0.03, warmup_steps=1)


def trainer(task: OutcomeTask, settings: TrainingSettings = SETTINGS) -> OutcomeTrainer:
    return OutcomeTrainer(task, settings, "site-a", STEPS, CPU)


@pytest.mark.parametrize(
    ("encoder", "covariates", "outcome"),
    [
        (None, 3, "multiclass"),
        (None, 3, "multilabel"),
        (None, 3, "survival"),
        ("ResNet", 0, "multiclass"),
        ("DenseNet", 2, "multilabel"),
        ("ResNet", 0, "survival"),
    ],
)
def test_every_kind_learns_what_other_cases_then_show(encoder: str | None, covariates: int, outcome: str) -> None:
    task = outcome_task(encoder, covariates, outcome, hidden=(8,) if encoder and covariates else ())
    one, unseen = trainer(task), outcome_samples(task, 60, seed=9)
    before = one.validate(unseen)
    one.train(outcome_samples(task, 120, seed=1), 0, STEPS)
    after = one.validate(unseen)
    assert before is not None
    assert after is not None
    assert after.metric > max(0.8, before.metric)


def test_one_seed_gives_one_model_whatever_ran_before() -> None:
    task = outcome_task("DenseNet", 2, hidden=(4,), dropout=0.2)
    digests = []
    for _ in range(2):
        torch.manual_seed(123)
        one = trainer(task)
        one.train(outcome_samples(task, 20), 0, 3)
        digests.append(weights_digest(one.weights()))
        torch.rand(7)
    assert digests[0] == digests[1]


def test_every_case_comes_once_before_any_comes_again_and_a_batch_is_never_more_than_all() -> None:
    order = np.random.default_rng(0)
    taken = np.concatenate(list(draws(order, 10, 4, 5)))
    assert sorted(taken[:10]) == list(range(10))
    assert sorted(taken[10:]) == list(range(10))
    assert [sorted(chosen) for chosen in draws(order, 3, 100, 2)] == [[0, 1, 2]] * 2
    # A single case would leave batch normalisation nothing to normalise over.
    assert [chosen.tolist() for chosen in draws(order, 1, 8, 1)] == [[0, 0]]


def test_a_batch_of_all_cases_makes_coxs_likelihood_that_of_the_site() -> None:
    task = outcome_task(covariates=2, outcome="survival")
    samples = outcome_samples(task, 30)
    one = trainer(task, TrainingSettings(batch_size=1000))
    loss = one.train(samples, 0, 1).loss
    target = torch.from_numpy(np.stack([sample.target for sample in samples]))
    assert loss == pytest.approx(float(one.loss(torch.zeros(30, 1), target)), abs=1e-5)


@pytest.mark.parametrize("outcome", ["multiclass", "multilabel", "survival"])
def test_values_of_cases_are_what_the_task_has_measured_from_0_to_1(outcome: str) -> None:
    task = outcome_task(covariates=2, outcome=outcome)
    samples = outcome_samples(task, 40)
    values = trainer(task).test(samples)
    assert tuple(values) == task.measured
    assert len({len(column) for column in values.values()}) == 1
    assert all(((column >= 0) & (column <= 1)).all() for column in values.values())


def test_the_round_metric_is_1_less_the_mean_brier_score() -> None:
    two, findings = outcome_task(covariates=1), outcome_task(covariates=1, outcome="multilabel")
    logits = np.array([[0.0, 0.0], [0.0, 100.0]], dtype=np.float32)
    # The first is undecided, the second sure and wrong: Brier scores of 1/4 and 1 for two classes.
    assert overall(logits, np.array([[1], [0]], np.float32), two) == pytest.approx((1 - (0.25 + 1) / 2, 2))
    truth = np.array([[1, 0], [0, 1]], np.float32)
    assert overall(logits, truth, findings) == pytest.approx((1 - (0.25 + (0.25 + 0) / 2) / 2, 2))
    assert by_case(logits, truth, findings)["accuracy"].tolist() == [0.5, 0.5]


def test_concordance_counts_pairs_and_a_case_its_own() -> None:
    task = outcome_task(covariates=1, outcome="survival")
    random = np.random.default_rng(3)
    target = np.stack((random.integers(1, 6, 20), random.integers(0, 2, 20)), axis=1).astype(np.float32)
    logits = random.normal(size=(20, 1)).astype(np.float32)
    expected = concordance(target[:, 0].astype(float), target[:, 1] > 0, logits[:, 0].astype(float))
    assert expected is not None
    assert overall(logits, target, task) == (expected.value, expected.comparable)
    # Earliest is right about both others; they cannot be compared with each other.
    three = np.array([[1, 1], [5, 0], [6, 0]], np.float32)
    found = by_case(np.array([[0.5], [1.0], [0.0]], np.float32), three, task)["concordance"]
    assert found.tolist() == [0.5, 0.0, 1.0]
    assert overall(logits[:3], np.array([[1, 0], [2, 0], [3, 0]], np.float32), task) is None


def test_evaluation_in_batches_is_evaluation_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    task = outcome_task("ResNet", 2)
    one, samples = trainer(task), outcome_samples(task, 7)
    whole = one._logits(samples)
    monkeypatch.setattr("radfed.training.outcome._EVALUATED", 600)
    assert np.abs(one._logits(samples) - whole).max() < 1e-6


def test_a_record_that_is_no_number_names_its_case() -> None:
    task = outcome_task(covariates=1)
    broken = OutcomeSample("case-broken", None, np.full(2, np.nan, np.float32), np.zeros(1, np.float32))
    with pytest.raises(TrainingError, match=r"loss is nan at step 7, in a batch of case-broken"):
        trainer(task).train([broken, broken], 7, 2)


def test_nothing_to_score_is_no_score() -> None:
    task = outcome_task(covariates=1)
    assert trainer(task).validate([]) is None
    assert {len(column) for column in trainer(task).test([]).values()} == {0}


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [True, False])
def test_it_learns_on_cuda_with_staged_cases(amp: bool) -> None:
    task = outcome_task("ResNet", 2)
    settings = SETTINGS.model_copy(update={"amp": amp})
    one = OutcomeTrainer(task, settings, "site-a", STEPS, torch.device("cuda"))
    samples = outcome_samples(task, 120)
    one.train(samples, 0, STEPS)
    assert one._staged is not None
    after = one.validate(outcome_samples(task, 60, seed=9))
    assert after is not None
    assert after.metric > 0.8
