"""The process in which a site answers a question about a release: no torch, no FLARE, and no way to send anything.

It finds the release among those that the site has fetched, checks every file of it, and writes its answer, or why there
is none, into a file.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.errors import GateError, InvalidInputError, RadfedError
from radfed.files import put_text
from radfed.inference.opened import open_model
from radfed.job import Job, ReleaseQuestion
from radfed.release.seal import check_sums
from radfed.settings import Settings
from radfed.site.config import SiteSettings
from radfed.site.releases import find_release


class ReleaseChangedError(GateError):
    """The release is not as it was sealed, or not the one that was asked about."""

    reason = "release_changed"


def answer(job: Job, site: SiteSettings) -> Settings:
    """Answer a question about a release.

    Raises:
        InvalidInputError: the site names no dataset, or has no such release.
        ReleaseChangedError: a file of the release is not as listed, or its model is another.
        RadfedError: there is no answer, for example for too few patients.
    """
    if job.release is None:
        raise InvalidInputError("the job asks about no release")
    if site.dataset is None:
        raise InvalidInputError("site.yaml names no dataset; set its key 'dataset'")
    folder = _checked(find_release(site.releases, job.release.digest, job.release.name), job, job.release)
    return SITE_FUNCTIONS[job.purpose](folder, Dataset.read(site.dataset), job.release, site)


def _checked(folder: Path, job: Job, asked: ReleaseQuestion) -> Path:
    try:
        check_sums(folder)
        model = open_model(folder, threads=1)
    except GateError as error:
        raise ReleaseChangedError(f"{asked.name}: {error}") from error
    if (model.weights_digest, model.task.digest) != (asked.weights, job.task.digest):
        raise ReleaseChangedError(f"{asked.name}: holds another model or task than the job names")
    return folder


def _validation(folder: Path, dataset: Dataset, asked: ReleaseQuestion, site: SiteSettings) -> Settings:
    from radfed.validation.site_sums import site_validation

    return site_validation(folder, dataset, asked.split, site.threads)


def _leakage(folder: Path, dataset: Dataset, asked: ReleaseQuestion, site: SiteSettings) -> Settings:
    from radfed.privacy.leakage import site_leakage
    from radfed.privacy.leakage_run import check_trained, open_release

    audited = open_release(folder, site.threads)
    if tuple(sorted(audited.trained)) != asked.trained:
        raise ReleaseChangedError(f"{asked.name}: by its ledger other sites took part than the job names")
    check_trained(site.name, dataset, audited.trained)
    return site_leakage(audited.model, dataset)


SITE_FUNCTIONS: Mapping[str, Callable[[Path, Dataset, ReleaseQuestion, SiteSettings], Settings]] = {
    "validation": _validation,
    "leakage": _leakage,
}
"""What is done at a site, by purpose of the job."""


def main(job: Path, site: Path, out: Path) -> None:
    """Body of the process."""
    try:
        settings = SiteSettings.model_validate_json(site.read_bytes())
        said: dict[str, object] = {"answer": answer(Job.read_json(job), settings).model_dump(mode="json")}
    except RadfedError as error:
        said = {"reason": error.reason, "error": str(error)}
    put_text(out, json.dumps(said) + "\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
