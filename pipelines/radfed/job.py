"""JobSpec: what to run, beside the task contract. A job is settings; it carries no code."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.settings import Settings
from radfed.task import AnyTask, Fraction, Identifier, NonNegativeFloat, PositiveFloat, PositiveInt, TaskSpec

SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
CampaignName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=96)]


SETTINGS_FILE = "radfed.json"
"""The job's settings, in the ``config/`` folder of the FLARE app."""


class AugmentationSettings(Settings):
    """Random changes to training patches. No mirroring: left stays left."""

    affine_probability: Fraction = 0.5
    rotation: NonNegativeFloat = Field(default=0.2, description="Largest rotation about each axis (rad)")
    scaling: Fraction = Field(default=0.15, description="Largest relative change of size")
    translation: NonNegativeFloat = Field(default=3.0, description="Largest shift along each axis (voxels)")
    intensity_probability: Fraction = Field(default=0.3, description="Of a change of contrast")
    noise_probability: Fraction = 0.2
    noise: NonNegativeFloat = Field(default=0.1, description="Standard deviation, in normalised intensity")


class PrivacySettings(Settings):
    """Differential privacy of the patients that a site trains on: DP-SGD at each site (Abadi et al. 2016).

    The unit is the patient of a site. Baselines and trees, which never leave the machine, are trained without.
    """

    epsilon: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None,
        description="Budget of every site for the whole training, beyond which it sends nothing. Without "
        "noise_multiplier the noise is chosen such that the planned rounds just fit",
    )
    noise_multiplier: Annotated[float, Field(ge=0.1, le=1000)] | None = Field(
        default=None, description="Standard deviation of the noise, in units of max_grad_norm; else from epsilon"
    )
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=1e-5, description="Must be less than 1 / patients at every site"
    )
    max_grad_norm: PositiveFloat = Field(
        default=1.0, description="L2 norm to which each patient's gradient is clipped; takes gradient_clip's place"
    )

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.epsilon is None and self.noise_multiplier is None:
            raise ValueError("give epsilon (a budget), noise_multiplier, or both; got neither")
        return self


class TrainingSettings(Settings):
    """Optimisation at a site; AdamW with a polynomial decay of the learning rate over the whole federation."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    batch_size: PositiveInt = 2
    learning_rate: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 1e-5
    warmup_steps: Annotated[int, Field(ge=0)] = 10
    gradient_clip: PositiveFloat = Field(default=12.0, description="Largest L2 norm of a gradient")
    foreground_share: Fraction = Field(default=0.67, description="Share of patches centred on a labelled voxel")
    amp: bool = Field(default=True, description="Mixed precision; on CUDA only")
    augmentation: AugmentationSettings = AugmentationSettings()
    privacy: PrivacySettings | None = Field(
        default=None, description="Train with differential privacy. batch_size is then the mean number of patients"
    )


class FederationSettings(Settings):
    """How the sites learn together: FedAvg (McMahan et al. 2017), weighted by training cases."""

    rounds: PositiveInt = 10
    local_steps: PositiveInt = Field(
        default=60, description="Optimiser steps of every site in a round: equal work, so that no site waits for others"
    )
    min_sites: PositiveInt = Field(default=2, description="Accepted updates without which a round fails the job")
    sites: tuple[SiteName, ...] = Field(
        default=(), description="Sites required in every round; empty: those present when the training begins"
    )
    round_deadline: Annotated[int, Field(ge=0)] = Field(
        default=6 * 3600, description="Seconds after which a round closes without the sites still missing; 0 waits"
    )
    patience: Annotated[float, Field(ge=1)] = Field(
        default=3.0,
        description="Once min_sites were accepted, the others have this many times the seconds that those took",
    )
    grace: Annotated[int, Field(ge=0)] = Field(
        default=60, description="Seconds that the others have at least, once min_sites were accepted"
    )
    norm_limit: Annotated[float, Field(gt=1)] = Field(
        default=10.0, description="An update that changes the model this many times more than the median is refused"
    )
    link_rounds: Annotated[int, Field(ge=0)] = Field(
        default=5, description="Rounds in one FLARE job of a campaign; a site that came back joins the next. 0: all"
    )
    max_links: PositiveInt = Field(
        default=5, description="FLARE jobs in a row without a new round, after which a campaign has failed"
    )


class TreeSettings(Settings):
    """Gradient-boosted trees to compare a network on records with; see ``radfed job simulate --trees``."""

    rounds: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=40, description="Of boosting; in each one every site adds a tree, of more than two classes one for each"
    )
    depth: Annotated[int, Field(ge=1, le=12)] = Field(default=3, description="Largest number of splits in a row")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3, description="Of the trees of a round together; a site's own has its share of the training cases"
    )
    subsample: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of a site's cases, drawn anew, that each of its trees sees"
    )


class JobSpec(Settings):
    """One federated training: federation and optimisation, for the task in the file named."""

    name: Identifier
    description: str
    task: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        default="task.yaml", description="The task contract, a file beside this one"
    )
    federation: FederationSettings = FederationSettings()
    training: TrainingSettings = TrainingSettings()
    trees: TreeSettings | None = Field(
        default=None, description="Of 'radfed job simulate --trees', for records with classes; not set: the defaults"
    )


Purpose = Literal["training", "fingerprint", "validation", "leakage"]
QUESTIONS: tuple[Purpose, ...] = ("validation", "leakage")
"""Purposes of jobs that ask about a release; nothing is trained."""


class ReleaseQuestion(Settings):
    """Which release is asked about, by digest: the sites have fetched it themselves, and the job carries no model."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=128)] = Field(
        description="Of its folder, for people"
    )
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="SHA-256 of its SHA256SUMS")
    weights: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="SHA-256 of the model's weights")
    split: Literal["training", "validation", "test", "all"] = Field(
        default="test", description="Which cases a validation scores; a leakage audit takes the splits of its policy"
    )
    trained: tuple[SiteName, ...] = Field(
        default=(), description="Of a leakage audit: sites that the release was trained at, by its ledger, sorted"
    )


class Job(Settings):
    """A job with its task: everything that a site or the server needs to know. It travels as one JSON file."""

    job: JobSpec
    task: AnyTask
    purpose: Purpose = Field(
        default="training",
        description="To train the task's model, to describe the data for it, or to ask about a release of it",
    )
    release: ReleaseQuestion | None = Field(
        default=None, description="What is asked about, of a validation or a leakage audit; null of other jobs"
    )
    campaign: CampaignName | None = Field(
        default=None, description="Name of the chain of FLARE jobs that this belongs to; null for a single run"
    )

    @model_validator(mode="after")
    def _asks_about_a_release(self) -> Self:
        if (self.purpose in QUESTIONS) != (self.release is not None):
            raise ValueError(f"release belongs to jobs of purpose {' and '.join(QUESTIONS)}, got {self.purpose}")
        return self

    @classmethod
    def read_folder(cls, folder: Path) -> Self:
        """Read ``job.yaml`` and the task that it names, or the settings in an exported FLARE job.

        Raises:
            InvalidInputError: a file is missing or says something that is not allowed.
        """
        exported = sorted(folder.glob(f"*/config/{SETTINGS_FILE}"))
        if exported:
            return cls.read_json(exported[0])
        if not (folder / "job.yaml").is_file():
            raise InvalidInputError(
                f"{folder}: holds no job.yaml; give a job's folder, or a name from 'radfed job list'"
            )
        job = JobSpec.read(folder / "job.yaml")
        return cls(job=job, task=TaskSpec.read(folder / job.task))

    @classmethod
    def read_json(cls, path: Path) -> Self:
        """Read what ``write_json`` wrote; YAML is a superset of JSON."""
        return cls.read(path)

    def write_json(self, path: Path) -> None:
        """Write the job with all defaults filled in."""
        put_text(path, self.model_dump_json(indent=2) + "\n")

    def with_changes(
        self,
        *,
        rounds: int | None = None,
        local_steps: int | None = None,
        seed: int | None = None,
        min_sites: int | None = None,
        link_rounds: int | None = None,
        sites: Sequence[str] | None = None,
    ) -> Self:
        """The same job with some settings changed from the command line."""
        changes = {
            "rounds": rounds,
            "local_steps": local_steps,
            "min_sites": min_sites,
            "link_rounds": link_rounds,
            "sites": list(sites) if sites else None,
        }
        content = self.model_dump(mode="json")
        content["job"]["federation"].update({k: v for k, v in changes.items() if v is not None})
        if seed is not None:
            content["job"]["training"]["seed"] = seed
        return type(self).check(content, "command line")


def as_campaign(job: Job, name: str | None = None) -> Job:
    """The job as a campaign: with the name given, else its own, else ``<job name>-<8 hexadecimal digits>``.

    Raises:
        InvalidInputError: the name is not allowed.
    """
    chosen = name or job.campaign or f"{job.job.name}-{secrets.token_hex(4)}"
    return Job.check(job.model_dump(mode="json") | {"campaign": chosen}, "campaign")


def shipped_jobs() -> dict[str, Path]:
    """The jobs that come with radfed, by name: in the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "jobs", here.parents[1] / "jobs"):
        if folder.is_dir():
            return {path.parent.name: path.parent for path in sorted(folder.glob("*/job.yaml"))}
    return {}


def find_job(name: str) -> Job:
    """A job by the folder that holds it, or by the name of a shipped one.

    Raises:
        InvalidInputError: there is no such job, or its files say something that is not allowed.
    """
    shipped = shipped_jobs()
    if Path(name).is_dir():
        return Job.read_folder(Path(name))
    if name not in shipped:
        raise InvalidInputError(f"job {name!r}: is no folder and no shipped job; there are: {', '.join(shipped)}")
    return Job.read_folder(shipped[name])
