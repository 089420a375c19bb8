"""Questions about a release: what a site's answer to each must be, and how the answers are put together.

The answer itself is made by ``radfed.workflow.site_answer``, in a process of its own at the site.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radfed.errors import InvalidInputError
from radfed.job import FederationSettings, Job, JobSpec, Purpose, ReleaseQuestion
from radfed.metrics.signed import Purpose as Signable
from radfed.metrics.site_validation import SiteValidation, pool_validation
from radfed.settings import Settings
from radfed.site.releases import sums_digest

ANSWERS = "answers.json"
"""Beside the pooled result: what each site told, as it came."""


@dataclass(frozen=True)
class Question:
    """One kind of question.

    Attributes:
        purpose: of the job, and of what the sites sign.
        answer: gives what a site may tell; its ``model`` and ``task_digest`` say what of.
        pool: all sites' answers to one result; the question tells which sites should have answered.
        result: file with that.
        words: for the job's description.
    """

    purpose: Signable
    answer: Callable[[], type[Settings]]
    pool: Callable[[Mapping[str, Any], ReleaseQuestion], Settings]
    result: str
    words: str


def _site_leakage() -> type[Settings]:
    # It comes with ONNX Runtime, which the guard at a site must not load.
    from radfed.privacy.leakage import SiteLeakage

    return SiteLeakage


def _validation(answers: Mapping[str, Any], _asked: ReleaseQuestion) -> Settings:
    return pool_validation(answers)


def _leakage(answers: Mapping[str, Any], asked: ReleaseQuestion) -> Settings:
    from radfed.privacy.leakage import pool_leakage

    try:
        return pool_leakage(answers, asked.trained)
    except ValueError as error:
        raise InvalidInputError(f"the sites' answers do not fit together: {error}") from error


KINDS: Mapping[str, Question] = {
    "validation": Question(
        "validation", lambda: SiteValidation, _validation, "validation.json",
        "Scores a release on each site's own cases; only sums over groups of patients leave it. Nothing is trained.",
    ),
    "leakage": Question(
        "leakage", _site_leakage, _leakage, "leakage.json",
        "Attacks a release with each site's own cases, to see whether it gives away whom it was trained on; only sums "
        "leave a site. Nothing is trained.",
    ),
}  # fmt: skip
"""By purpose of the job."""


class Told(Settings):
    """``answers.json``: what the sites told of a release."""

    purpose: Purpose
    release: ReleaseQuestion
    answers: dict[str, dict[str, Any]]
    refused: dict[str, str]
    """Sites without a usable answer, with the reason's code."""


def question_job(purpose: Signable, release: Path, split: str, sites: tuple[str, ...] = (), min_sites: int = 2) -> Job:
    """The job that asks about a release.

    Args:
        purpose: what is asked.
        release: folder of the release; its digest alone goes into the job.
        split: which cases a validation scores.
        sites: those without which there is no result; empty for those connected.
        min_sites: how many must answer.

    Raises:
        InvalidInputError: the folder is no release, or one without the ledger that a leakage audit needs.
        GateError: its model is not the one that it lists, or not the one in its ledger.
    """
    # Who runs or guards a job needs no ONNX Runtime.
    from radfed.inference.opened import open_model
    from radfed.privacy.leakage_run import open_release

    audited = open_release(release, threads=1) if purpose == "leakage" else None
    model = open_model(release, threads=1) if audited is None else audited.model
    spec = JobSpec(
        name=f"{purpose}_{model.task.name}"[:64],
        description=KINDS[purpose].words,
        federation=FederationSettings(rounds=1, local_steps=1, min_sites=min_sites, sites=sites),
    )
    asked = {
        "name": release.resolve().name,
        "digest": sums_digest(release),
        "weights": model.weights_digest,
        "split": split,
        "trained": () if audited is None else tuple(sorted(audited.trained)),
    }
    about = ReleaseQuestion.check(asked, "release")
    return Job(job=spec, task=model.task, purpose=purpose, release=about)
