"""``radfed predict``: scans to masks, images and records to answers."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.imaging.dicom.options import ReadOptions
    from radfed.inference.answers import OutcomePrediction
    from radfed.inference.model import OnnxModel
    from radfed.inference.predict import Prediction
    from radfed.site.config import SiteSettings


def predict(
    release: Annotated[Path, typer.Argument(help="A release's folder, or an .onnx file with its task contract.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of masks or answers, made if missing.")],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="INPUT",
            help="A .nii, .nii.gz (channels are 4D) or DICOM file, of classification also .png, or a folder of them, "
            "of DICOM also a tree; of a task without images a CSV or Parquet table of records. Not with --listen.",
        ),
    ] = None,
    covariates: Annotated[
        Path | None,
        typer.Option(
            "--covariates",
            metavar="TABLE",
            help="CSV or Parquet: 'case' (the image's file name without suffix) and a column for each covariate.",
        ),
    ] = None,
    send: Annotated[
        str | None,
        typer.Option(
            "--send", help="PACS that gets SEG and SR: dicomweb+https://HOST:PORT/PATH or dimse://AE@HOST:PORT."
        ),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option("--site", help="site.yaml that says what reading DICOM may do, and how the PACS is reached."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="AE@HOST:PORT",
            help="Take DICOM studies by C-STORE until ended, in place of INPUT; dimse+tls://AE@HOST:PORT with TLS.",
        ),
    ] = None,
    quiet: Annotated[
        float | None,
        typer.Option("--quiet", help="With --listen: a study is complete when nothing of it came for so long (s)."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="AE", help="With --listen: an AE title that may send; may be repeated."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Segment scans, or answer for cases: a mask for each scan, or one table predictions.csv.

    A mask <input name>.nii.gz lies on the scan's own grid; for DICOM there are also a SEG and an SR. Of each DICOM
    study the series are taken that the task's rules choose. What cannot be segmented, answered or sent is named with
    the reason, the others go on; then the exit code is 1.

    With --listen it is a DICOM node: studies come by C-STORE, and results lie under --out, in folders of their own.

    Example: radfed predict releases/hippocampus_segmentation-0.1.0 scans --out masks
    """
    from radfed.errors import InvalidInputError
    from radfed.imaging.dicom.options import ReadOptions
    from radfed.inference.opened import open_model
    from radfed.site.config import read_site
    from radfed.task import OutcomeTask

    if (source is None) == (listen is None):
        raise InvalidInputError("give INPUT, or --listen AE@HOST:PORT in its place, and not both")
    settings = read_site(site) if site else None
    if listen is not None:
        from radfed.cli.predict_listen import listen_for

        if covariates is not None:
            raise InvalidInputError("--covariates: --listen takes scans alone; leave it out")
        listen_for(release, out, listen, send, settings, quiet, accept, threads, as_json)
        return
    if quiet is not None or accept:
        raise InvalidInputError("--quiet and --accept belong to --listen; leave them out")
    assert source is not None
    reading = settings.reading if settings else ReadOptions()
    model = open_model(release, threads)
    predictions: list[Prediction] | list[OutcomePrediction]
    if isinstance(model.task, OutcomeTask):
        predictions = _answer(release, model, source, out, covariates, send, reading)
    else:
        predictions = _segment(model, source, out, covariates, send, settings, reading)
    failed = sum(prediction.reason is not None for prediction in predictions)
    content = {"out": str(out), "failed": failed, "predictions": [asdict(prediction) for prediction in predictions]}
    emit({"ok": failed == 0, **content}, as_json)
    if failed:
        raise typer.Exit(1)


def _answer(
    release: Path,
    model: "OnnxModel",
    source: Path,
    out: Path,
    covariates: Path | None,
    send: str | None,
    reading: "ReadOptions",
) -> "list[OutcomePrediction]":
    from radfed.cli.progress import case_progress
    from radfed.errors import InvalidInputError
    from radfed.inference.answers import PREDICTIONS, answer_cases
    from radfed.inference.operating import read_thresholds

    if send is not None:
        raise InvalidInputError(f"--send: the task {model.task.name} makes no SEG to send; leave it out")
    thresholds = read_thresholds(release, model.weights_digest)
    with case_progress("answering") as on_progress:
        predictions = answer_cases(model, source, out, covariates, thresholds, on_progress, reading)
    for prediction in predictions:
        _tell_trouble(prediction.case, prediction)
    answered = sum(prediction.reason is None for prediction in predictions)
    log.print(f"{out / PREDICTIONS}: {answered} of {len(predictions)} cases answered", markup=False, soft_wrap=True)
    return predictions


def _segment(
    model: "OnnxModel",
    source: Path,
    out: Path,
    covariates: Path | None,
    send: str | None,
    settings: "SiteSettings | None",
    reading: "ReadOptions",
) -> "list[Prediction]":
    from radfed.cli.progress import case_progress, file_progress
    from radfed.errors import InvalidInputError
    from radfed.imaging.pacs.settings import PacsSettings
    from radfed.inference.predict import predict_masks

    if covariates is not None:
        raise InvalidInputError(f"--covariates: the task {model.task.name} reads scans alone; leave it out")
    if send is not None:
        from radfed.imaging.pacs.address import parse_address
        from radfed.inference.sending import send_results

        address = parse_address(send)  # before the work, which may take hours
    with case_progress("segmenting") as on_progress:
        predictions = predict_masks(model, source, out, on_progress, reading)
    if send is not None:
        with file_progress("sending") as on_progress:
            pacs = settings.pacs if settings else PacsSettings()
            predictions = send_results(predictions, out, address, pacs, on_progress)
        if all(prediction.sent is None for prediction in predictions):
            log.print("warning: nothing to send: only DICOM input gives SEG and SR", style="yellow", markup=False)
    for prediction in predictions:
        if prediction.mask is not None:
            volumes = ", ".join(f"{name} {volume:.2f} ml" for name, volume in prediction.volumes_ml.items())
            sent = "; SEG and SR sent" if prediction.sent else ""
            log.print(f"{out / prediction.mask}: {volumes}{sent}", markup=False, soft_wrap=True)
        _tell_trouble(prediction.name, prediction)
    return predictions


def _tell_trouble(name: str, prediction: "Prediction | OutcomePrediction") -> None:
    """Warnings, and why something failed."""
    for warning in prediction.warnings:
        log.print(f"warning: {name}: {warning}", style="yellow", markup=False, soft_wrap=True)
    if prediction.reason is not None:
        line = f"error: {name}: {prediction.reason}: {prediction.message}"
        log.print(line, style="red", markup=False, soft_wrap=True)
