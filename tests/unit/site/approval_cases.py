"""Jobs and sites for the tests of approval: settings and lists only, no voxels."""

import hashlib
from pathlib import Path

from radfed.dataset.layout import Case, Datalist, entry, write_lists
from radfed.job import Job, as_campaign, find_job
from radfed.site.approval import job_digest
from radfed.site.approval_facts import JobFacts, gather
from radfed.site.config import init_site

METRICS = ("cases", "loss")


def a_job(rounds: int | None = None, local_steps: int | None = None) -> Job:
    job = as_campaign(find_job("phantom_segmentation"), "campaign-1")
    return job.with_changes(rounds=rounds, local_steps=local_steps)


def files_of_job(job: Job) -> dict[str, bytes]:
    return {
        "config/config_fed_client.json": b'{"executors": []}',
        "config/config_fed_server.json": b'{"workflows": []}',
        "config/radfed.json": job.model_dump_json(indent=2).encode() + b"\n",
    }


def write_dataset(root: Path, cases: int) -> Path:
    """The lists of a dataset whose every third case validates and every fourth tests."""
    root.mkdir(exist_ok=True)
    made = tuple(_case(number) for number in range(cases))
    groups = {split: tuple(entry(c) for c in made if c.split == split) for split in ("training", "validation", "test")}
    write_lists(
        root, Datalist(name="d", description="d", site="s", labels={}, channels={}, phantom=True, **groups), made, ()
    )
    return root


def make_site(folder: Path, dataset: Path | None = None, approval: str = "") -> Path:
    init_site(folder, "site-a")
    text = "name: site-a\n" + (f"dataset: {dataset}\n" if dataset else "") + approval
    (folder / "site.yaml").write_text(text)
    return folder


def facts_of(job: Job, dataset: Path | None = None, kit: Path | None = None) -> JobFacts:
    digest = job_digest(files_of_job(job))
    return gather(job, digest, dataset=dataset, kit=kit, metrics=METRICS, seen="2026-01-01T00:00:00+00:00")


def _case(number: int) -> Case:
    name = hashlib.sha256(str(number).encode()).hexdigest()
    split = "validation" if number % 3 == 2 else "test" if number % 4 == 3 else "training"
    return Case(
        id=f"case-{name[:12]}",
        patient=f"pat-{name[:12]}",
        split=split,
        image=f"images/{name[:8]}.nii.gz",
        digest=name,
        size=(8, 8, 8),
        spacing=(1.0, 1.0, 1.0),
        source_orientation="RAS",
    )
