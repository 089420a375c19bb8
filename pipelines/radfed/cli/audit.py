"""``radfed audit``: what a trained model gives away."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.dataset.layout import Dataset
    from radfed.privacy.leakage import Leakage

app = typer.Typer(help="What a trained model gives away of those it was trained on.", no_args_is_help=True)

_STYLE = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


@app.callback()
def _group() -> None:
    """What a trained model gives away of those it was trained on."""


@app.command()
def leakage(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that 'radfed job simulate' wrote, or a release's folder.")
    ],
    dataset: Annotated[
        list[str],
        typer.Option("--dataset", help="A site's prepared dataset as it was trained on, DIR or SITE=DIR; one a site."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for leakage.json and leakage.html. Default: RUN, if it is a run."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="YAML with the gate's limits. Default: those of the documentation.")
    ] = None,
    shadow: Annotated[
        int, typer.Option("--shadow", help="Models to train for the shadow-model attack, an even number from 4.")
    ] = 0,
    inversion: Annotated[
        int, typer.Option("--inversion", min=0, help="Iterations of gradient inversion on the sites' updates.")
    ] = 0,
    require_pass: Annotated[bool, typer.Option("--require-pass", help="Exit 3 for an inconclusive audit too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Attack a model with the patients of the sites that trained it, and hold the result against a policy.

    Membership inference, per patient: by loss and confidence, of masks by Dice too; AUC and true-positive rate at 1 %
    false positives with intervals, per site and over all sites, and the generalisation gap. Exits 3 if the gate fails.

    Example: radfed audit leakage run --dataset dataset-a --dataset dataset-b
    """
    from radfed.cli.progress import case_progress
    from radfed.privacy.leakage import LeakagePolicy
    from radfed.privacy.leakage_file import LEAKAGE, write_leakage
    from radfed.privacy.leakage_run import audit_leakage, open_audited
    from radfed.validation.leakage_page import write_page

    target = _target(run, out)
    audited, chosen = open_audited(run), LeakagePolicy.read(policy) if policy else LeakagePolicy()
    with case_progress("attacking") as on_progress:
        found = audit_leakage(audited, _datasets(dataset), chosen, on_progress, shadow, inversion)
    target.mkdir(parents=True, exist_ok=True)
    write_leakage(target / LEAKAGE, found)
    page = write_page(found, target)
    say_verdict(found, page)
    emit({"report": str(page), "leakage": str(target / LEAKAGE), **found.model_dump(mode="json")}, as_json)
    if found.verdict == "fail" or (require_pass and found.verdict != "pass"):
        raise typer.Exit(3)


def say_verdict(found: "Leakage", page: Path) -> None:
    """Tell what an audit found, and where it can be read."""
    log.print(f"{found.verdict.upper()}: {page}", style=_STYLE[found.verdict], markup=False, soft_wrap=True)
    for reason in found.reasons:
        log.print(f"  {reason}", markup=False, soft_wrap=True)


def _target(run: Path, out: Path | None) -> Path:
    """Where the report goes: a release is sealed, so nothing is written into it.

    Raises:
        InvalidInputError: RUN is no run, and no other folder was given; or the other folder is a release.
    """
    from radfed.errors import InvalidInputError
    from radfed.privacy.leakage_run import JOB

    if out is None and not (run / JOB).is_file():
        raise InvalidInputError(f"{run}: is no run's folder, into which the report could go; give --out DIR")
    target = out or run
    if (target / "SHA256SUMS").exists():
        raise InvalidInputError(f"{target}: is a sealed release; give another folder with --out")
    return target


def _datasets(given: list[str]) -> "dict[str, Dataset]":
    """The datasets by site: by the name given, else by their own.

    Raises:
        InvalidInputError: one cannot be read, or a site is given twice.
    """
    from radfed.dataset.layout import Dataset
    from radfed.errors import InvalidInputError

    found: dict[str, Dataset] = {}
    for text in given:
        site, sign, folder = text.partition("=")
        named = bool(sign) and not Path(text).is_dir()
        dataset = Dataset.read(Path(folder if named else text))
        name = site if named else dataset.site
        if name in found:
            raise InvalidInputError(f"--dataset: site {name!r} is given twice")
        found[name] = dataset
    return found
