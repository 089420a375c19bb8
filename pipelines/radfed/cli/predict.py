"""``radfed predict``: scans to masks."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log


def predict(
    release: Annotated[Path, typer.Argument(help="A release's folder, or an .onnx file with its task contract.")],
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A .nii or .nii.gz file, or a folder of them; channels are 4D.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the masks, made if missing.")],
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: all cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Segment scans: <input name>.nii.gz for each, on the scan's own grid.

    A file that cannot be segmented is named with the reason, the others go on; then the exit code is 1.

    Example: radfed predict releases/hippocampus_segmentation-0.1.0 scans --out masks
    """
    from radfed.cli.progress import case_progress
    from radfed.inference.predict import predict as run

    with case_progress("segmenting") as on_progress:
        predictions = run(release, source, out, on_progress, threads)
    for prediction in predictions:
        if prediction.reason is None:
            volumes = ", ".join(f"{name} {volume:.2f} ml" for name, volume in prediction.volumes_ml.items())
            log.print(f"{out / str(prediction.mask)}: {volumes}", markup=False, soft_wrap=True)
        else:
            line = f"error: {prediction.name}: {prediction.reason}: {prediction.message}"
            log.print(line, style="red", markup=False, soft_wrap=True)
    failed = sum(prediction.reason is not None for prediction in predictions)
    content = {"out": str(out), "failed": failed, "predictions": [asdict(prediction) for prediction in predictions]}
    emit({"ok": failed == 0, **content}, as_json)
    if failed:
        raise typer.Exit(1)
