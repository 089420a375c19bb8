"""A site's whole answer to the question how good a model is there, and all sites' answers put together.

Nothing in an answer is of one or two patients.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from radfed.errors import InvalidInputError
from radfed.metrics.answer_pool import AnswerGroup, pool_answers
from radfed.metrics.answer_sums import AnswerSums
from radfed.metrics.mask_sums import MaskGroup, MaskSums, VolumeAgreement, pool_masks, pool_volumes
from radfed.metrics.pooling import MOST_CASES
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.settings import Settings


class SiteValidation(Settings):
    """What may leave a site after it has scored a model at home."""

    model: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the model's weights")
    task: str
    task_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    split: Literal["training", "validation", "test", "all"]
    dataset: str = Field(pattern=r"^[0-9a-f]{64}$", description="Digest of the dataset, for a later check at the site")
    phantom: bool = Field(description="Whether the data are made up")
    cases: int = Field(ge=LEAST_PATIENTS, le=MOST_CASES)
    patients: int = Field(ge=LEAST_PATIENTS, le=MOST_CASES)
    masks: MaskSums | None = None
    answers: AnswerSums | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.masks is None) == (self.answers is None):
            raise ValueError("either masks or answers must be told")
        return self


class FederatedValidation(Settings):
    """How good a model is at all sites together, and at each."""

    model: str
    task: str
    task_digest: str
    split: str
    phantom: bool = Field(description="Whether any of the data are made up")
    datasets: dict[str, str] = Field(description="Digest of each site's dataset")
    pooled: MaskGroup | AnswerGroup
    sites: dict[str, MaskGroup | AnswerGroup]
    volumes_ml: dict[str, VolumeAgreement]


def pool_validation(sites: Mapping[str, SiteValidation]) -> FederatedValidation:
    """Put the sites' sums together.

    Raises:
        InvalidInputError: they are not of one model, task and split, or do not speak of the same labels or questions.
    """
    answers = [sites[name] for name in sorted(sites)]
    if not answers:
        raise InvalidInputError("no site told anything, so there is nothing to pool")
    first = answers[0]
    for one in answers[1:]:
        if _about(one) != _about(first):
            raise InvalidInputError("the sites' sums are not of the same model, split, labels and questions")
    masks = [one.masks for one in answers if one.masks is not None]
    return FederatedValidation(
        model=first.model,
        task=first.task,
        task_digest=first.task_digest,
        split=first.split,
        phantom=any(one.phantom for one in answers),
        datasets={name: sites[name].dataset for name in sorted(sites)},
        pooled=_group(answers),
        sites={name: _group([sites[name]]) for name in sorted(sites)},
        volumes_ml=dict(pool_volumes(masks)) if masks else {},
    )


def _about(one: SiteValidation) -> tuple[object, ...]:
    if one.masks is not None:
        return one.model, one.task_digest, one.split, tuple(one.masks.labels), tuple(one.masks.volumes)
    assert one.answers is not None  # one of both is there
    return one.model, one.task_digest, one.split, tuple(one.answers.questions), tuple(one.answers.thresholds.items())


def _group(answers: Sequence[SiteValidation]) -> MaskGroup | AnswerGroup:
    cases, patients = sum(one.cases for one in answers), sum(one.patients for one in answers)
    masks = [one.masks for one in answers if one.masks is not None]
    if masks:
        return pool_masks(masks, cases, patients)
    return pool_answers([one.answers for one in answers if one.answers is not None], cases, patients)
