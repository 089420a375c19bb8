"""``radfed deidentify``: DICOM to DICOM without identity."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of DICOM files.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder; appears only when all is done.")],
    site: Annotated[
        Path, typer.Option("--site", help="site.yaml from 'radfed site init', or its folder; its secret is the key.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Take identity out of DICOM files, by the standard's own profile (PS3.15 Annex E).

    Names, numbers and UIDs become pseudonyms, dates are moved, descriptions keep known words, private attributes go
    but those known to be safe. Scans that may have text in their pixels, and files in which an identifying value is
    found afterwards, are refused: see OUT/quarantine.jsonl. Pixels are left as they are; faces are not removed.

    The map from pseudonyms to patients is pseudonyms.csv in the site's folder; keep it there. Ends with 1 if no file at
    all could be written.

    Example: radfed deidentify scans scans-clean --site sites/a
    """
    from radfed.cli.progress import case_progress
    from radfed.dataset.pseudonyms import write_map
    from radfed.errors import DatasetRefusedError, InvalidInputError
    from radfed.imaging.deid.run import deidentify as run
    from radfed.site.config import PSEUDONYMS_FILE, read_secret, read_site

    decided = read_site(site)
    folder = site if site.is_dir() else site.absolute().parent
    pseudonyms = folder / PSEUDONYMS_FILE
    if pseudonyms.resolve().is_relative_to(out.resolve()):
        raise InvalidInputError(f"{pseudonyms}: the map of pseudonyms must lie outside the output")
    with case_progress("de-identifying") as on_progress:
        report = run(
            source,
            out,
            read_secret(folder),
            decided.deidentification,
            lambda pairs: write_map(pseudonyms, pairs),
            on_progress,
        )
    log.print(f"{out}: {report.written} files of {report.patients} patients", markup=False, soft_wrap=True)
    for reason, count in report.reasons.items():
        log.print(f"quarantined: {reason} {count} (see quarantine.jsonl)", markup=False, soft_wrap=True)
    if report.written == 0:
        raise DatasetRefusedError(f"{out}: no file could be de-identified; quarantine.jsonl says why")
    emit(
        {
            "out": str(out),
            "written": report.written,
            "patients": report.patients,
            "quarantined": report.refused,
            "reasons": report.reasons,
            "duplicates": report.duplicates,
            "foreign": report.foreign,
        },
        as_json,
    )
