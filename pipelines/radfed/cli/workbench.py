"""``radfed workbench``: review a release's masks in the browser, and sign off."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfed.cli.console import emit, log
from radfed.errors import InvalidInputError

if TYPE_CHECKING:
    from radfed.validation.workbench.opening import Choice
    from radfed.validation.workbench.serve import Door


def workbench(
    release: Annotated[Path, typer.Argument(help="Folder of the release that holds model.onnx.")],
    dataset: Annotated[Path, typer.Argument(help="Folder that 'radfed ingest' wrote, with references.")],
    state: Annotated[
        Path, typer.Option("--state", help="Folder of the review: users, verdicts, audit chain, key. Keep it private.")
    ] = Path("review"),
    host: Annotated[str, typer.Option("--host", help="Where to listen; beyond this machine only with TLS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="TCP port.")] = 8765,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="The certificate's private key, PEM.")] = None,
    blinded: Annotated[
        bool, typer.Option("--blinded", help="Readers judge prediction and reference as A and B.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the order of cases in a blinded review; else drawn.")
    ] = None,
    readers: Annotated[int, typer.Option("--readers", min=1, max=20, help="Readers that each case needs.")] = 2,
    dicom: Annotated[
        Path | None,
        typer.Option("--dicom", help="The cases' DICOM files, for SEG and verified SR of what was accepted."),
    ] = None,
    split: Annotated[
        str,
        typer.Option("--split", help="test, validation, training, or all (for a site that took no part in training)."),
    ] = "test",
    add_user: Annotated[
        str | None,
        typer.Option("--add-user", help="NAME:ROLE (reader, lead, auditor): ask for a password, add the user, end."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Review masks in the browser: accept, correct, reject; second reader, adjudication, sign-off.

    Add at least one lead and the readers first. Everything that is done goes into an audit chain.

    Example: radfed workbench release dataset --add-user anna:lead
    """
    try:
        import radfed.validation.workbench.serve as served
        from radfed.validation.workbench.opening import Choice
    except ImportError as error:
        raise InvalidInputError(f"the workbench needs {error.name}: install radfed[workbench]") from error
    from radfed.validation.results import check_split

    if add_user is not None:
        _add(state, add_user, as_json)
        return
    choice = Choice(check_split(split), blinded, readers, seed, dicom)
    _serve(release, dataset, state, choice, served.Door(host, port, tls_cert, tls_key), as_json)


def _add(state: Path, text: str, as_json: bool) -> None:
    from radfed.validation.workbench.folder import StateFolder
    from radfed.validation.workbench.opening import open_journal
    from radfed.validation.workbench.users import add_user, parse_user

    user = parse_user(text)
    if sys.stdin.isatty():
        password = typer.prompt(f"Password of {user.name}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    add_user(open_journal(StateFolder(state)), user, password)
    log.print(f"{user.name} may log in as {user.role}", markup=False)
    emit({"user": user.name, "role": user.role, "state": str(state)}, as_json)


def _serve(release: Path, dataset: Path, state: Path, choice: "Choice", door: "Door", as_json: bool) -> None:
    from radfed.cli.progress import case_progress
    from radfed.validation.workbench.app import VIEWER
    from radfed.validation.workbench.opening import open_bench
    from radfed.validation.workbench.serve import check_door, serve

    check_door(door)
    if not VIEWER.is_file():
        log.print(
            "the viewer is not installed, so no scan can be seen and no verdict given: put npm on the PATH and install "
            "radfed from its source again",
            style="yellow",
        )
    if choice.dicom is not None and not choice.dicom.is_dir():
        raise InvalidInputError(f"{choice.dicom}: is no folder; give the DICOM files' folder with --dicom")
    with case_progress("segmenting") as on_progress:
        bench = open_bench(release, dataset, state, choice, on_progress)

    def ready(address: str) -> None:
        log.print(f"the workbench is at {address}; Ctrl-C ends it", markup=False, soft_wrap=True)
        emit({"address": address, "state": str(state)}, as_json)

    serve(bench, door, ready)
