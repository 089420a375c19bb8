"""The doctor's round: every check, whether or not the one before it passed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from radfed.errors import InvalidInputError
from radfed.job import Job
from radfed.site.config import SITE_FILE, SiteSettings, read_site
from radfed.site.doctor.cost import check_bandwidth, check_prediction
from radfed.site.doctor.data import check_dataset
from radfed.site.doctor.federation import Federation, read_federation
from radfed.site.doctor.findings import Finding, Report, failed, warned
from radfed.site.doctor.identity import check_kit
from radfed.site.doctor.joining import (
    check_acceptance,
    check_clock,
    check_port,
    check_server_certificate,
    check_versions,
)
from radfed.site.doctor.link import Link, measure_link
from radfed.site.doctor.machine import (
    check_batch,
    check_disk,
    check_gpu,
    check_memory,
    check_promised_gpus,
    check_shared_memory,
    find_gpus,
)
from radfed.site.doctor.measurement import Measurement, MeasurementError, measure
from radfed.site.doctor.policies import check_policies
from radfed.site.doctor.prediction import Prediction, predict
from radfed.site.doctor.probe import Health, Probe, ProbeError
from radfed.site.doctor.server import Reached, client_context, latency, reach
from radfed.site.kit import read_identity, read_kit_link
from radfed.site.timeouts import Timeouts, derive

Say = Callable[[str], None]


@dataclass
class _Notes:
    """What is known so far; each stage adds to it."""

    findings: list[Finding] = field(default_factory=list)
    link: Link | None = None
    measured: Measurement | None = None
    predicted: Prediction | None = None

    def add(self, *findings: Finding | None) -> None:
        self.findings.extend(finding for finding in findings if finding is not None)


def examine(
    site: Path, kit: Path | None, job: Job | None, on_step: Say = lambda _what: None, find_batch: bool = False
) -> Report:
    """Check everything that a site needs before it joins a federation.

    Args:
        site: the site's folder, or its ``site.yaml``.
        kit: its startup kit; None takes the one in ``site.yaml``.
        job: a job to measure; None leaves prediction and timeouts out.
        on_step: told what is done next.
        find_batch: also look for the largest batch of the job that the memory holds.

    Raises:
        InvalidInputError: there is no usable ``site.yaml``, or no kit is known.
    """
    settings = read_site(site)
    folder = site if site.is_dir() else site.absolute().parent
    home = kit or settings.kit
    if home is None:
        raise InvalidInputError(
            f"{folder / SITE_FILE}: names no startup kit; give --kit KIT, or run: radfed site init {folder} --kit KIT"
        )
    federation = read_federation(home)
    notes = _Notes()
    on_step("certificates")
    notes.add(_linked(home, folder), *check_kit(home, read_identity(home).site, settings.name, _now()))
    health = _server(home, federation, notes, on_step)
    notes.add(*check_versions(federation, health))
    on_step("dataset")
    notes.add(check_dataset(settings.dataset, job.task if job else None))
    if job is not None:
        _job(job, folder / SITE_FILE, notes, on_step, find_batch)
    on_step("machine")
    notes.add(*_machine(home, settings, notes.measured))
    on_step("policies")
    notes.add(*check_policies(home, folder, settings.approval, _now().date()))
    return Report(findings=tuple(notes.findings), predicted=notes.predicted, timeouts=_timeouts(notes))


def _linked(kit: Path, folder: Path) -> Finding | None:
    """The guard finds the site through the kit; a kit without a link refuses every job."""
    try:
        if read_kit_link(kit).resolve() == folder.resolve():
            return None
        trouble = "the kit is linked to another site's folder"
    except InvalidInputError:
        trouble = "the kit is linked to no site: it would refuse every job"
    return failed("kit", trouble, f"radfed site init {folder} --kit {kit}")


def _server(kit: Path, federation: Federation, notes: _Notes, on_step: Say) -> Health | None:
    """Ports, certificates, clock, speed: all that needs the server to be there."""
    try:
        context = client_context(kit)
        root = x509.load_pem_x509_certificate((kit / "startup" / "rootCA.pem").read_bytes())
    except (OSError, ValueError):
        fix = "mend the finding on the certificate first"
        notes.add(failed("server-port", "not tried: TLS needs the kit's certificate and its key", fix))
        return None
    on_step("server")
    reached = reach(federation.server, federation.port, context)
    notes.add(
        check_port("server-port", federation.port, reached),
        check_server_certificate(reached, root, federation.server, _now()) if reached.connect is not None else None,
    )
    health, refusal = _probe(kit, federation, root, notes, on_step)
    notes.add(check_acceptance(reached, refusal, health is not None))
    return health


def _probe(
    kit: Path, federation: Federation, root: x509.Certificate, notes: _Notes, on_step: Say
) -> tuple[Health | None, ProbeError | None]:
    """What the health probe says, and how fast it is reached."""
    port, host = federation.probe_port, federation.server
    if port is None:
        fix = "ask the federation's engineer for a kit made with radfed's provisioning"
        notes.add(warned("probe-port", "the kit names no health probe: clock and bandwidth are not checked", fix))
        return None, None
    reached = reach(host, port, client_context(kit))
    notes.add(check_port("probe-port", port, reached))
    if not _is_server(reached, root, host, notes):
        return None, ProbeError("cannot be asked")
    health = None
    try:
        with Probe(kit, host, port) as probe:
            health, here = probe.health()
            notes.add(check_clock(health, here))
            notes.link = measure_link(probe, latency(host, port), on_step)
            notes.add(check_bandwidth(notes.link))
            return health, None
    except (ProbeError, OSError) as error:
        refusal = error if isinstance(error, ProbeError) else ProbeError("cannot be reached")
        if refusal.reason == "busy":
            notes.add(warned("bandwidth", "not measured: other sites are measuring theirs", "run doctor again"))
            return health, None
        if refusal.reason != "revoked":
            notes.add(failed("probe", f"the server's health probe {refusal}", "is the server up? tell its engineer"))
        return None, refusal


def _is_server(reached: Reached, root: x509.Certificate, host: str, notes: _Notes) -> bool:
    """Whether the probe is this federation's server: what it says is believed only then."""
    if reached.certificate is None or reached.refused is not None:
        return False
    finding = check_server_certificate(reached, root, host, _now())
    if finding.verdict == "fail":
        notes.add(finding.model_copy(update={"check": "probe-certificate"}))
    return finding.verdict != "fail"


def _job(job: Job, site_file: Path, notes: _Notes, on_step: Say, find_batch: bool) -> None:
    """A job as it runs on this machine, and over this link."""
    on_step("a few training steps")
    try:
        notes.measured = measure(job, site_file, find_batch)
    except MeasurementError as error:
        fix = "mend what it says; the job would end here in the same way"
        notes.add(failed("training", f"{job.job.name} cannot be trained here: {error}", fix))
        return
    notes.add(check_batch(notes.measured.largest_batch, job.job.training.batch_size))
    if notes.link is not None:
        notes.predicted = predict(notes.link, notes.measured, job.job.federation.local_steps)
        notes.add(check_prediction(notes.predicted, job.job.federation))


def _machine(kit: Path, settings: SiteSettings, measured: Measurement | None) -> Iterable[Finding]:
    gpus = find_gpus()
    yield check_gpu(settings.device, gpus, measured, settings.training_processes)
    promised = check_promised_gpus(kit, gpus)
    if promised is not None:
        yield promised
    if measured is not None and measured.device == "cpu":
        yield check_memory(measured)
    yield check_shared_memory()
    yield check_disk("disk-kit", kit)
    if settings.dataset is not None and settings.dataset.is_dir():
        yield check_disk("disk-dataset", settings.dataset)


def _timeouts(notes: _Notes) -> Timeouts | None:
    """FLARE's timeouts, once link and job are both measured."""
    predicted, link = notes.predicted, notes.link
    if predicted is None or link is None or predicted.training_seconds is None:
        return None
    return derive(
        round_s=predicted.training_seconds,
        evaluation_s=predicted.evaluation_seconds or 0.0,
        upload_bytes_per_s=link.up_bytes_per_second,
        download_bytes_per_s=link.down_bytes_per_second,
        model_bytes=predicted.model_bytes,
        latency_s=link.latency_seconds,
    )


def _now() -> datetime:
    return datetime.now(UTC)
