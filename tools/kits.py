"""Startup kits in an operator's hands: when they expire, renew one, revoke one.

python tools/kits.py list WORKSPACE [--json]
python tools/kits.py renew WORKSPACE/PROJECT NAME
python tools/kits.py revoke SERVER_KIT (--kit KIT | --name NAME) [--reason TEXT]
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from radfed.errors import RadfedError
from radfed.federation.provisioning_kits import find_kits, forget_certificate, read_kit
from radfed.federation.revocation import revoke as add_revocation

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command("list")
def list_kits(
    workspace: Annotated[Path, typer.Argument(help="A kit, or a folder with kits below it")],
    warn: Annotated[int, typer.Option(help="Exit with 1 if a kit has fewer days left")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list")] = False,
) -> None:
    """List when kits expire, the first to expire first."""
    now = datetime.now(UTC)
    kits = sorted(find_kits(workspace), key=lambda kit: kit.not_after)
    rows = [
        {
            "participant": kit.participant,
            "not_after": kit.not_after.isoformat(),
            "days_left": (kit.not_after - now).days,
            "serial": kit.serial,
            "kit": str(kit.folder),
        }
        for kit in kits
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for kit, row in zip(kits, rows, strict=True):
            print(f"{kit.participant:32} {kit.not_after:%Y-%m-%d} {row['days_left']:>6} days left  {kit.folder}")
    if any((kit.not_after - now).days < warn for kit in kits):
        raise typer.Exit(1)


@app.command()
def renew(
    project: Annotated[Path, typer.Argument(help="The project's folder in the provisioning workspace")],
    name: Annotated[str, typer.Argument(help="The server, a site or an admin")],
) -> None:
    """Give one participant a new key and certificate at the next 'nvflare provision'."""
    forget_certificate(project, name)
    print(f"{name}: now run 'nvflare provision -p PROJECT_FILE -w {project.parent} --force' and hand out its new kit")


@app.command()
def revoke(
    server_kit: Annotated[Path, typer.Argument(help="The server's kit, where it runs")],
    kit: Annotated[Path | None, typer.Option(help="Revoke this kit's certificate alone")] = None,
    name: Annotated[str | None, typer.Option(help="Revoke all certificates of a site or an admin")] = None,
    reason: Annotated[str, typer.Option(help="For the record")] = "",
) -> None:
    """Keep a participant out, from now on; a running server takes it up within seconds."""
    if (kit is None) == (name is None):
        raise typer.BadParameter("give either --kit or --name")
    if not (server_kit / "startup" / "fed_server.json").is_file():
        raise typer.BadParameter(f"{server_kit} is no server's kit")
    found = read_kit(kit) if kit else None
    who, serial = (found.participant, found.serial) if found else (str(name), None)
    changed = add_revocation(server_kit, who, serial, reason)
    print(f"{who}: revoked ({serial or 'all certificates'}); {len(changed.revoked)} entries in the list")


def main() -> None:
    """Run the command line; errors of radfed are one line and an exit code."""
    try:
        app()
    except RadfedError as error:
        typer.echo(error, err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
