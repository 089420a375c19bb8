"""``radfed ingest``: a source folder or a PACS to a prepared dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.dataset.explain import SeriesLine
    from radfed.dataset.ingest import IngestReport


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of DICOM files in any arrangement; folder of NIfTI files (imagesTr/ and labelsTr/, images/ "
            "and labels/, or flat); a PACS: dicomweb+https://HOST:PORT/PATH or dimse://AE@HOST:PORT, both with "
            "filters such as ?Modality=MR&StudyDate=20240101-20241231; with --mapping the folder of a table's images, "
            "an npz file, or the table itself."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the prepared dataset; replaced only on success.")
    ] = None,
    task: Annotated[
        Path | None, typer.Option("--task", help="task.yaml to check against. Without it any image series is a case.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="CSV or Parquet with a row a case. Default: SOURCE, if that is a table or npz."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="mapping.yaml: what the table's columns mean to the task.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="COLUMN=VALUE: take only these rows; again for more values. Adds to the mapping."),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option("--site", help="site.yaml from 'radfed site init'. Default: <OUT>.site/."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show which DICOM series would become which channel, and why; write nothing."),
    ] = False,
    max_refused: Annotated[
        float | None,
        typer.Option("--max-refused", min=0.0, max=1.0, help="Largest share of cases that may fail. [site.yaml: 0.2]"),
    ] = None,
    interpolate_gaps: Annotated[
        int | None,
        typer.Option("--interpolate-gaps", min=0, max=5, help="DICOM: missing slices in a row to fill. [site.yaml: 0]"),
    ] = None,
    correct_tilt: Annotated[
        bool | None,
        typer.Option("--correct-tilt/--refuse-tilt", help="DICOM: resample a tilted gantry's shear away."),
    ] = None,
    dcm2niix: Annotated[
        bool | None,
        typer.Option("--dcm2niix/--no-dcm2niix", help="DICOM: let dcm2niix read Siemens mosaics, and check it."),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(
            "--patients", help="NIfTI: CSV with the columns id,patient. Default: each case is its own patient."
        ),
    ] = None,
    site_name: Annotated[str | None, typer.Option("--site-name", help="Name of the site, for example site-a.")] = None,
    split_seed: Annotated[int | None, typer.Option("--split-seed", help="Seed of the splits. [site.yaml: 0]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Check, convert and pseudonymise scans into a dataset to train on.

    Every case is checked. What fails goes to quarantine.jsonl with a reason, the rest is written as RAS NIfTI with its
    original spacing, split by patient into training, validation and test. If too many fail, nothing is written.
    Labels are DICOM SEG, RTSTRUCT or NIfTI. Nothing of the DICOM headers goes on but modality, scanner, geometry, sex,
    band of age and projection.

    What comes from a PACS lies in the site's folder until it is ingested; interrupted, it goes on where it was.
    The map from pseudonyms to your files is pseudonyms.csv in the site's folder; keep it there.

    With --mapping, a table's rows become cases, with the images that they name.

    Example: radfed ingest export --task task.yaml --site site/site.yaml --out dataset
    """
    from radfed.cli.progress import case_progress, file_progress
    from radfed.dataset.explain import explain as explain_source
    from radfed.dataset.ingest import IngestSettings, holds_dicom, open_dicom
    from radfed.dataset.ingest import ingest as run
    from radfed.dataset.ingest_records import ingest_records, is_records
    from radfed.dataset.patients import read_patients
    from radfed.dataset.records_mapping import read_mapping
    from radfed.errors import InvalidInputError
    from radfed.site.config import PSEUDONYMS_FILE, SiteSettings, open_site, read_secret
    from radfed.task import SegmentationTask, read_task
    from radfed.workflow.gather import discard, gather

    if out is None and not (explain and site):
        raise InvalidInputError("give --out, the folder of the dataset (or --site, if you only want to --explain)")
    if (table or where or is_records(Path(source))) and mapping is None:
        raise InvalidInputError("a table or npz file needs --mapping, which says what its columns mean")
    spec = read_task(task) if task else None
    site_folder, decided = open_site(site, beside=out or Path("dataset"), name=site_name)
    name = SiteSettings.check({"name": site_name}, source="--site-name").name if site_name else decided.name
    asked = {"interpolate_gaps": interpolate_gaps, "correct_tilt": correct_tilt, "dcm2niix": dcm2niix}
    settings = IngestSettings(
        site=name,
        secret=read_secret(site_folder),
        pseudonyms=site_folder / PSEUDONYMS_FILE,
        task=spec,
        max_refused=decided.max_refused if max_refused is None else max_refused,
        split=decided.split if split_seed is None else decided.split.model_copy(update={"seed": split_seed}),
        patients=read_patients(patients) if patients else None,
        reading=decided.reading.model_copy(update={key: value for key, value in asked.items() if value is not None}),
        deidentification=decided.deidentification,
    )
    if mapping is not None:
        if out is None or explain:
            raise InvalidInputError("--explain is about DICOM series; with --mapping give --out without it")
        meaning = read_mapping(mapping, where or [])
        with case_progress("checking") as on_case:
            report = ingest_records(Path(source), out, settings, meaning, table, on_case)
        _show(report, out)
        emit({"dataset": str(out), "site_folder": str(site_folder), **report.model_dump(mode="json")}, as_json)
        return
    with file_progress("retrieving") as on_file:
        gathered = gather(source, site_folder, decided.pacs, on_file)
    dicom_task = spec if isinstance(spec, SegmentationTask) else None
    if explain or out is None:
        if not holds_dicom(gathered.root):
            raise InvalidInputError(f"{source}: holds no DICOM; --explain is about DICOM series")
        with (
            file_progress("reading headers") as on_file,
            open_dicom(gathered.root, settings, on_file, gathered.files, gathered.missing) as found,
        ):
            _show_series(explain_source(found, dicom_task, settings.secret), as_json)
        return
    with file_progress("reading headers") as on_file, case_progress("checking") as on_case:
        report = run(gathered.root, out, settings, on_case, on_file, gathered.files, gathered.missing)
    discard(gathered)
    _show(report, out)
    emit({"dataset": str(out), "site_folder": str(site_folder), **report.model_dump(mode="json")}, as_json)


def _show(report: "IngestReport", out: Path) -> None:
    splits = ", ".join(f"{name} {count}" for name, count in report.splits.items())
    log.print(f"{out}: {report.cases} cases of {report.patients} patients ({splits})", markup=False, soft_wrap=True)
    for name, count in report.outcomes.items():
        log.print(f"{name}: {count} cases", markup=False, soft_wrap=True)
    for reason, count in report.reasons.items():
        log.print(f"quarantined: {reason} {count} (see quarantine.jsonl)", markup=False, soft_wrap=True)
    for warning in report.warnings:
        log.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)


def _show_series(lines: "tuple[SeriesLine, ...]", as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("patient", "no.", "modality", "description", "plane", "slices", "mm", "labels", "verdict")
    for line in lines:
        number = "" if line.series_number is None else str(line.series_number)
        distance = "" if line.slice_distance is None else f"{line.slice_distance:g}"
        facts = (line.patient, number, line.modality, line.description, line.plane, str(line.slices), distance)
        table.add_row(*(Text(fact) for fact in facts), str(line.labels), Text(line.verdict))
    log.print(table)
    emit({"series": [line.model_dump(mode="json") for line in lines]}, as_json)
