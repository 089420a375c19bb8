"""``radfed predict``: scans to masks."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.inference.predict import Prediction


def predict(
    release: Annotated[Path, typer.Argument(help="A release's folder, or an .onnx file with its task contract.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A .nii or .nii.gz file (channels are 4D), a DICOM file, or a folder of them; of DICOM also a tree.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the masks, made if missing.")],
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
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Segment scans: <input name>.nii.gz for each, on the scan's own grid, and for DICOM a SEG and an SR.

    Of each DICOM study the series are taken that the task's rules choose. What cannot be segmented or sent is named
    with the reason, the others go on; then the exit code is 1.

    Example: radfed predict releases/hippocampus_segmentation-0.1.0 scans --out masks
    """
    from radfed.cli.progress import case_progress, file_progress
    from radfed.imaging.dicom.options import ReadOptions
    from radfed.imaging.pacs.settings import PacsSettings
    from radfed.inference.predict import predict as run
    from radfed.site.config import read_site

    settings = read_site(site) if site else None
    if send is not None:
        from radfed.imaging.pacs.address import parse_address
        from radfed.inference.sending import send_results

        address = parse_address(send)  # before the work, which may take hours
    with case_progress("segmenting") as on_progress:
        predictions = run(release, source, out, on_progress, threads, settings.reading if settings else ReadOptions())
    if send is not None:
        with file_progress("sending") as on_progress:
            pacs = settings.pacs if settings else PacsSettings()
            predictions = send_results(predictions, out, address, pacs, on_progress)
        if all(prediction.sent is None for prediction in predictions):
            log.print("warning: nothing to send: only DICOM input gives SEG and SR", style="yellow", markup=False)
    for prediction in predictions:
        _tell(prediction, out)
    failed = sum(prediction.reason is not None for prediction in predictions)
    content = {"out": str(out), "failed": failed, "predictions": [asdict(prediction) for prediction in predictions]}
    emit({"ok": failed == 0, **content}, as_json)
    if failed:
        raise typer.Exit(1)


def _tell(prediction: "Prediction", out: Path) -> None:
    """One prediction for people."""
    if prediction.mask is not None:
        volumes = ", ".join(f"{name} {volume:.2f} ml" for name, volume in prediction.volumes_ml.items())
        sent = "; SEG and SR sent" if prediction.sent else ""
        log.print(f"{out / prediction.mask}: {volumes}{sent}", markup=False, soft_wrap=True)
    for warning in prediction.warnings:
        log.print(f"warning: {prediction.name}: {warning}", style="yellow", markup=False, soft_wrap=True)
    if prediction.reason is not None:
        line = f"error: {prediction.name}: {prediction.reason}: {prediction.message}"
        log.print(line, style="red", markup=False, soft_wrap=True)
