"""The job that makes a fingerprint: settings like any other job's, with another purpose."""

from collections.abc import Sequence

from radfed.job import FederationSettings, Job, JobSpec
from radfed.task import OutcomeTask, SegmentationTask

FINGERPRINT_JOB = "fingerprint"
"""Its name on the command line."""


def fingerprint_job(task: SegmentationTask | OutcomeTask, sites: Sequence[str] = (), min_sites: int = 2) -> Job:
    """The job that describes the sites' data for a task.

    Args:
        task: what of the data matters.
        sites: those without which there is no result; empty for those connected.
        min_sites: how many must tell theirs.
    """
    spec = JobSpec(
        name=f"{FINGERPRINT_JOB}_{task.name}"[:64],
        description=f"Describes the training cases for {task.name} in sums and histograms. Nothing is trained.",
        federation=FederationSettings(rounds=1, local_steps=1, min_sites=min_sites, sites=tuple(sites)),
    )
    return Job(job=spec, task=task, purpose="fingerprint")
