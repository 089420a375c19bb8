"""What a person is to know of a job before saying yes: gathered at the site, from the job and from the site itself."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

import radfed
from radfed.dataset.fingerprint_features import features_of, message_bytes
from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SPLITS
from radfed.job import QUESTIONS, Job
from radfed.settings import Settings

PRIVACY_FILE = "local/privacy.json"


class DataFacts(Settings):
    """The data that a job would touch; no path among them."""

    digest: str = Field(description="SHA-256 over the content and split of every case")
    training: int = Field(description="Cases to train on")
    validation: int = Field(description="Cases to measure on")
    test: int = Field(description="Cases on which the final model is scored, once")


class JobFacts(Settings):
    """What a job would do here."""

    digest: str = Field(description="SHA-256 of the job, see radfed.site.approval.job_digest")
    seen: str = Field(description="When these facts were gathered, UTC")
    job: str
    description: str
    campaign: str | None
    submitter: str | None = Field(default=None, description="As the server names it; null before the job was submitted")
    task: str
    labels: tuple[str, ...]
    network: str
    algorithm: str
    rounds: int
    local_steps: int
    data: DataFacts | None = Field(default=None, description="Null if the site has no readable dataset")
    filters: tuple[str, ...] | None = Field(description="The site's own, in order; null if it has no privacy policy")
    metrics: tuple[str, ...] = Field(description="Numbers that leave with each update")
    radfed_version: str
    code: str = Field(description="SHA-256 over the installed package's source files")
    parameters: int | None = Field(default=None, description="Numbers in one update; null if it was not measured")
    bytes_a_round: int | None = Field(default=None, description="Size of one update (bytes)")
    bytes_in_all: int | None = Field(default=None, description="Of all rounds (bytes), if no round is repeated")
    settings: Job = Field(description="The job itself, all settings filled in")
    changed: tuple[str, ...] = Field(default=(), description="Why an earlier grant of this digest no longer holds")

    def changed_since(self, earlier: "JobFacts") -> tuple[str, ...]:
        """What lies in the site's own hands and is no longer as it was, in plain words."""
        then, now = earlier.data, self.data
        changes = []
        if (then and then.digest) != (now and now.digest):
            changes.append(f"the dataset: {_cases(then)} when it was approved, {_cases(now)} now")
        if earlier.code != self.code:
            changes.append(
                f"the installed code: radfed {earlier.radfed_version} ({earlier.code[:12]}) when it was approved, "
                f"{self.radfed_version} ({self.code[:12]}) now"
            )
        if earlier.filters != self.filters:
            changes.append(
                f"the site's filters: {_listed(earlier.filters)} when it was approved, {_listed(self.filters)} now"
            )
        return tuple(changes)

    def with_size(self, parameters: int, size: int) -> "JobFacts":
        """The same with the size of an update (bytes)."""
        found = {"parameters": parameters, "bytes_a_round": size, "bytes_in_all": size * self.rounds}
        return self.model_copy(update=found)


def gather(
    job: Job,
    digest: str,
    *,
    dataset: Path | None,
    kit: Path | None,
    metrics: Sequence[str],
    seen: str,
    submitter: str | None = None,
) -> JobFacts:
    """The facts of a job at a site; the size of an update is measured apart, see ``measure``.

    Raises:
        InvalidInputError: the dataset named in ``site.yaml`` cannot be read.
    """
    federation = job.job.federation
    facts = JobFacts(
        digest=digest,
        seen=seen,
        job=job.job.name,
        description=job.job.description,
        campaign=job.campaign,
        submitter=submitter,
        task=job.task.name,
        labels=job.task.finds,
        network=job.task.network.name,
        algorithm="FedAvg, weighted by training cases",
        rounds=federation.rounds,
        local_steps=federation.local_steps,
        data=None if dataset is None else _data(dataset),
        filters=None if kit is None else site_filters(kit),
        metrics=tuple(metrics),
        radfed_version=radfed.__version__,
        code=code_digest(),
        settings=job,
    )
    return facts if job.purpose == "training" else _without_training(facts)


LARGEST_ANSWER = 1_000_000
"""Bytes of an answer to a question about a release; a larger one does not leave."""


def _without_training(facts: JobFacts) -> JobFacts:
    """The facts of a job that makes a fingerprint, or asks about a release: no update, one answer."""
    task = facts.settings.task
    if facts.settings.purpose in QUESTIONS:
        asked = {"algorithm": "sums over groups of patients", "rounds": 1, "local_steps": 0, "metrics": ()}
        return facts.model_copy(update=asked).with_size(0, LARGEST_ANSWER)
    what = {"network": "none", "algorithm": "sums and histograms", "rounds": 1, "local_steps": 0}
    return facts.model_copy(update={**what, "metrics": features_of(task)}).with_size(0, message_bytes(task))


def code_digest() -> str:
    """SHA-256 over the paths and contents of the installed package's source files."""
    root = Path(radfed.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def site_filters(kit: Path) -> tuple[str, ...] | None:
    """The filters that a kit's privacy policy puts on what leaves, in order: each scope's, with their arguments.

    None if the kit has no policy that can be read.
    """
    try:
        policy = json.loads((kit / PRIVACY_FILE).read_text(encoding="utf-8"))
        return tuple(
            f"{scope['name']}: {_filter_name(entry)}"
            for scope in policy["scopes"]
            for entry in scope.get("task_result_filters", [])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def measure(job: Job, timeout: float) -> tuple[int, int] | None:
    """Numbers and bytes of one update, counted by a process of its own, so that this one need not load torch.

    Args:
        job: names the network.
        timeout: seconds.

    Returns:
        Parameters and bytes; None if they could not be counted in time.
    """
    with tempfile.TemporaryDirectory(prefix="radfed-") as folder:
        file = Path(folder) / "job.json"
        job.write_json(file)
        command = [sys.executable, "-m", "radfed.training.measure", "--job", str(file), "--count-only"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=timeout, check=True, stdin=subprocess.DEVNULL)
            counted = json.loads(done.stdout)
            return int(counted["parameters"]), int(counted["bytes"])
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
            return None


def _data(dataset: Path) -> DataFacts:
    content = Dataset.read(dataset)
    training, validation, test = (len(content.split(name)) for name in SPLITS)
    return DataFacts(digest=content.digest, training=training, validation=validation, test=test)


def _filter_name(entry: dict[str, object]) -> str:
    name = str(entry.get("path") or entry["name"]).rsplit(".", 1)[-1]
    arguments = entry.get("args") or {}
    return name if not arguments else f"{name} {json.dumps(arguments, sort_keys=True)}"


def _cases(data: DataFacts | None) -> str:
    return "none" if data is None else f"{data.training + data.validation + data.test} cases ({data.digest[:12]})"


def _listed(filters: Sequence[str] | None) -> str:
    return "unknown" if filters is None else (", ".join(filters) or "none")
