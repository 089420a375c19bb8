"""JobSpec: what to run, beside the task contract. A job is settings; it carries no code."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from radfed.errors import InvalidInputError
from radfed.settings import Settings
from radfed.task import Fraction, Identifier, NonNegativeFloat, PositiveFloat, PositiveInt, TaskSpec


class AugmentationSettings(Settings):
    """Random changes to training patches. No mirroring: left stays left."""

    affine_probability: Fraction = 0.5
    rotation: NonNegativeFloat = Field(default=0.2, description="Largest rotation about each axis (rad)")
    scaling: Fraction = Field(default=0.15, description="Largest relative change of size")
    translation: NonNegativeFloat = Field(default=3.0, description="Largest shift along each axis (voxels)")
    intensity_probability: Fraction = Field(default=0.3, description="Of a change of contrast")
    noise_probability: Fraction = 0.2
    noise: NonNegativeFloat = Field(default=0.1, description="Standard deviation, in normalised intensity")


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


class FederationSettings(Settings):
    """How the sites learn together: FedAvg (McMahan et al. 2017), weighted by training cases."""

    rounds: PositiveInt = 10
    local_steps: PositiveInt = Field(
        default=60, description="Optimiser steps of every site in a round: equal work, so that no site waits for others"
    )
    min_sites: PositiveInt = Field(default=2, description="Accepted updates without which a round fails the job")
    round_deadline: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Seconds after which a round closes without the sites still missing; 0 waits"
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


class Job(Settings):
    """A job with its task: everything that a site or the server needs to know. It travels as one JSON file."""

    job: JobSpec
    task: TaskSpec

    @classmethod
    def read_folder(cls, folder: Path) -> Self:
        """Read ``job.yaml`` and the task that it names.

        Raises:
            InvalidInputError: a file is missing or says something that is not allowed.
        """
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
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def with_changes(
        self, *, rounds: int | None = None, local_steps: int | None = None, seed: int | None = None
    ) -> Self:
        """The same job with some numbers changed from the command line."""
        federation = {k: v for k, v in {"rounds": rounds, "local_steps": local_steps}.items() if v is not None}
        content = self.model_dump(mode="json")
        content["job"]["federation"].update(federation)
        if seed is not None:
            content["job"]["training"]["seed"] = seed
        return type(self).check(content, "command line")


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
