"""``radfed release``: package a trained model, and check a package."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log
from radfed.cli.release_registry import list_, pull, push
from radfed.cli.release_sign import KeyOption, attach, keygen, sign

app = typer.Typer(help="Package a trained model, check a package, and pass it on.", no_args_is_help=True)
app.command("keygen")(keygen)
app.command("sign")(sign)
app.command("attach")(attach)
app.command("push")(push)
app.command("pull")(pull)
app.command("list")(list_)

_STYLE = {"PASS": "green", "FAIL": "red", "NOT VERIFIABLE": "yellow"}


@app.command()
def build(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that 'radfed job simulate' wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Folder in which <task>-<version>/ is made.")],
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            "--dataset",
            help="Prepared dataset whose cases the parity gate tries, and whose validation cases fix the operating "
            "point of classes or findings; may be repeated.",
        ),
    ] = None,
    dicom: Annotated[
        list[Path] | None,
        typer.Option(
            "--dicom", help="Folder of DICOM files that the gate takes from file to SEG or answer; may be repeated."
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Of the release, like 1.0.0. Default: the task's.")
    ] = None,
    key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Export the run's best model to ONNX, let it pass the parity gate, and package it.

    Exits 3, leaving nothing behind, if the run failed by its ledger or torch and ONNX Runtime disagree. Without
    --dataset and --dicom the gate takes made-up cases.
    """
    from radfed.release.cases import parity_cases
    from radfed.release.package import build_release

    cases, phantom = parity_cases(dataset or [])
    release = build_release(run, out, cases, version, phantom, dicom or (), dataset or (), key)
    log.print(f"{release}: built; check it with 'radfed release verify'", markup=False, soft_wrap=True)
    emit({"release": str(release)}, as_json)


@app.command()
def verify(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="A release's folder.")],
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="Of who must have signed it, in PEM, got by another way.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", help="The federation's root certificate (rootCA.pem of a kit), for the sites' signatures."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Check a release offline, claim by claim; exits 3 if any claim is false."""
    from rich.table import Table
    from rich.text import Text

    from radfed.release.verify import verify as run

    report = run(release, public_key, root)
    table = Table("verdict", "claim", "because", title=Text(report.release))
    for claim in report.claims:
        table.add_row(Text(claim.verdict, _STYLE[claim.verdict]), Text(claim.says), Text(claim.reason, overflow="fold"))
    log.print(table)
    lines = ["What no release can prove:", *(f"- {line}" for line in report.not_provable)]
    log.print("\n".join(lines), markup=False, soft_wrap=True)
    emit({"ok": report.ok, **report.model_dump(mode="json")}, as_json)
    if not report.ok:
        raise typer.Exit(3)
