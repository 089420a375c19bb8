"""The whole line on three sites of this machine: hospitals, datasets, federation, release, report."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Protocol

from radfed.dataset.ingest import IngestReport, IngestSettings, ingest
from radfed.dataset.pseudonyms import write_map
from radfed.dataset.splits import SplitSettings
from radfed.errors import InvalidInputError
from radfed.federation.simulate import simulate
from radfed.imaging.deid.run import deidentify
from radfed.job import Job, find_job
from radfed.ledger import FinalLine, Line, read_ledger
from radfed.release.attach import add_evaluation
from radfed.release.cases import parity_cases
from radfed.release.package import build_release
from radfed.release.sign import sign_release
from radfed.release.signing import make_key, public_path
from radfed.site.config import PSEUDONYMS_FILE, init_site, read_secret, read_site
from radfed.validation.kinds import (
    AnyEvaluation,
    AnySummary,
    dump_travelling_comparison,
    headline_of,
    summarise_any,
    write_any_report,
)
from radfed.validation.pdf import why_no_pdf, write_pdf
from radfed.validation.report import METRICS, REPORT
from radfed.validation.run import report_input, score
from radfed.workflow.cohorts import JOBS, PHANTOMS, SPLIT_SEEDS, deal_out, download, find_data, make_phantoms
from radfed.workflow.timing import Clock

COMPARISON = "comparison.json"
KEY = "signer.pem"


class Narrator(Protocol):
    """What the demo tells while it runs."""

    def say(self, words: str) -> None:
        """A sentence."""

    def federation(self, job: Job) -> AbstractContextManager[Callable[[Line], None]]:
        """The rounds of a federation, as ledger lines."""

    def cases(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """Work that goes case by case: (done, total)."""


@dataclass(frozen=True)
class DemoSettings:
    """What to run.

    Attributes:
        out: folder for everything; must be new or empty.
        data: ``phantoms``, the name of a dataset under ``$RADFED_DATA``, or a folder in MSD layout.
        job: name or folder of the job; None takes the one that fits the data.
        seed: of phantoms and training; None takes the job's.
        rounds: instead of the job's number.
        local_steps: instead of the job's number.
        baselines: whether to train each site alone and all data pooled as well.
        fetch: whether to download the data from their official address.
    """

    out: Path
    data: str = PHANTOMS
    job: str | None = None
    seed: int | None = None
    rounds: int | None = None
    local_steps: int | None = None
    baselines: bool = False
    fetch: bool = False


@dataclass(frozen=True)
class DemoResult:
    """What the demo made, and where its time went (s). ``pdf`` is None where WeasyPrint cannot be loaded."""

    release: Path
    report: Path
    pdf: Path | None
    final: FinalLine
    summary: AnySummary
    baselines: Mapping[str, AnySummary]
    seconds: Mapping[str, float]
    overhead: float


def run_demo(settings: DemoSettings, narrator: Narrator) -> DemoResult:
    """Go the whole line.

    Raises:
        InvalidInputError: the data or the job are not there, or ``out`` is in use.
        RadfedError: any step failed; what the steps before it made is left for a look.
    """
    job = _job(settings)
    if settings.out.exists() and any(settings.out.iterdir()):
        raise InvalidInputError(f"--out {settings.out}: is not empty; give a new folder, or delete this one")
    clock, out = Clock(), settings.out
    with clock.span("data"):
        datasets = _datasets(settings, job, narrator)
    # This process only waits while the sites train; torch, which the export needs, takes seconds to load.
    Thread(target=import_module, args=("radfed.training.networks",), daemon=True).start()
    with narrator.federation(job) as on_line:
        wall = Clock()
        with wall.span("federation"):
            final = simulate(job, datasets, out / "run", on_line)
    clock.split_federation(wall.seconds["federation"], read_ledger(out / "run" / "ledger.jsonl"))
    narrator.say(f"{final.outcome}: the model of round {final.best_round} is the best of {job.job.federation.rounds}")
    baselines = _baselines(settings, job, datasets, narrator, clock)
    with clock.span("export"):
        narrator.say("exporting to ONNX and checking that it agrees with torch")
        cases, phantom = parity_cases(list(datasets.values()))
        release = build_release(out / "run", out / "release", cases, phantom=phantom)
    return _evaluate(settings, release, datasets, final, baselines, narrator, clock)


def _job(settings: DemoSettings) -> Job:
    name = settings.job or JOBS.get(Path(settings.data).name)
    if name is None:
        raise InvalidInputError(f"--data {settings.data}: which job fits? Give --job; known data: {', '.join(JOBS)}")
    return find_job(name).with_changes(rounds=settings.rounds, local_steps=settings.local_steps, seed=settings.seed)


def _datasets(settings: DemoSettings, job: Job, narrator: Narrator) -> dict[str, Path]:
    """Make the hospitals' exports and ingest each, as its site would."""
    exports = settings.out / "hospitals"
    if settings.data == PHANTOMS:
        narrator.say("no data given: three made-up hospitals with PHANTOMS in DICOM, not patients")
        folders = make_phantoms(exports, settings.seed or 0)
    else:
        source = download(settings.data, exports / "download") if settings.fetch else find_data(settings.data)
        folders = deal_out(source, exports)
    datasets: dict[str, Path] = {}
    for site, folder in folders.items():
        secret = settings.out / "sites" / site
        init_site(secret, site)
        split = SplitSettings(seed=SPLIT_SEEDS.get(Path(settings.data).name, 0))
        how = IngestSettings(site, read_secret(secret), secret / "pseudonyms.csv", task=job.task, split=split)
        with narrator.cases(f"ingesting {site}") as on_progress:
            report = ingest(folder, settings.out / "datasets" / site, how, on_progress)
        narrator.say(_ingested(report))
        if report.phantom and settings.data == PHANTOMS and not datasets:
            _show_deidentification(folder, settings.out / "deidentified" / site, secret, narrator)
        datasets[site] = settings.out / "datasets" / site
    return datasets


def _show_deidentification(source: Path, out: Path, site: Path, narrator: Narrator) -> None:
    """Make of one hospital's export the DICOM files that it could hand on."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with narrator.cases("de-identifying") as on_progress:
        done = deidentify(
            source,
            out,
            read_secret(site),
            read_site(site).deidentification,
            lambda pairs: write_map(site / PSEUDONYMS_FILE, pairs),
            on_progress,
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in done.reasons.items())
    narrator.say(f"{source.name}: {done.written} DICOM files de-identified; quarantined: {reasons or 'none'}")


def _ingested(report: IngestReport) -> str:
    splits = ", ".join(f"{count} {name}" for name, count in report.splits.items())
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.reasons.items())
    return f"{report.site}: {report.cases} cases ({splits})" + (f"; quarantined: {reasons}" if reasons else "")


def _baselines(
    settings: DemoSettings, job: Job, datasets: Mapping[str, Path], narrator: Narrator, clock: Clock
) -> dict[str, AnyEvaluation]:
    if not settings.baselines:
        return {}
    # torch is not waited for by who does not train here.
    from radfed.workflow.simulation import run_baselines

    narrator.say("training the baselines: all data pooled, and each site alone, with the same total of steps")
    with clock.span("baselines"):
        return run_baselines(
            job,
            datasets,
            settings.out / "run",
            lambda done: narrator.say(f"  {done.model}: {headline_of(summarise_any(done))}"),
        )


def _evaluate(
    settings: DemoSettings,
    release: Path,
    datasets: Mapping[str, Path],
    final: FinalLine,
    baselines: Mapping[str, AnyEvaluation],
    narrator: Narrator,
    clock: Clock,
) -> DemoResult:
    """Score the exported model on every site's test cases; one report stays here, one travels in the release."""
    with clock.span("evaluation"), narrator.cases("scoring the exported model") as on_progress:
        scored = score(release, list(datasets.values()), on_progress=on_progress)
    with clock.span("report"):
        narrator.say("writing the report")
        given = report_input(release, scored, pictures=True, baselines=baselines, timing=clock.seconds)
        write_any_report(given, settings.out / "report", pictures=True, cases=True)
        why = why_no_pdf()
        if why:
            narrator.say(f"no report.pdf: {why}")
        pdf = None if why else write_pdf(settings.out / "report" / REPORT)
        with tempfile.TemporaryDirectory() as travels:
            write_any_report(given, Path(travels), pictures=False)
            dump_travelling_comparison(given, Path(travels) / COMPARISON)
            add_evaluation(release, {name: Path(travels) / name for name in (REPORT, METRICS, COMPARISON)})
    with clock.span("release"):
        key = settings.out / KEY
        make_key(key)
        name = sign_release(release, key)
        narrator.say(f"the release is signed with a key made for this demo, {public_path(key).name} ({name[:16]})")
    return DemoResult(
        release=release,
        report=settings.out / "report" / REPORT,
        pdf=pdf,
        final=final,
        summary=summarise_any(scored.evaluation),
        baselines={name: summarise_any(evaluation) for name, evaluation in baselines.items()},
        seconds=dict(clock.seconds),
        overhead=clock.overhead,
    )
