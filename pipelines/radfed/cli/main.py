"""The entry point ``radfed``: one line a command or command group."""

from typing import Annotated

import typer

from radfed import __version__
from radfed.cli import audit, dataset, deidentify, demo, ingest, job, predict, release, site, validate, workbench
from radfed.cli.console import GuardedGroup

app = typer.Typer(
    name="radfed",
    cls=GuardedGroup,
    no_args_is_help=True,
    # A traceback with local variables would print the site's secret.
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo")(demo.demo)
app.add_typer(site.app, name="site")
app.command("ingest")(ingest.ingest)
app.command("deidentify")(deidentify.deidentify)
app.add_typer(dataset.app, name="dataset")
app.add_typer(job.app, name="job")
app.add_typer(release.app, name="release")
app.command("predict")(predict.predict)
app.command("validate")(validate.validate)
app.command("workbench")(workbench.workbench)
app.add_typer(audit.app, name="audit")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"radfed {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Federated radiology: train on every hospital's scans, move none of them.

    Exit codes: 0 done, 1 failed, 2 usage or invalid input, 3 refused by a policy or a gate, 130 interrupted.
    """


def main() -> None:
    """Run the command line; errors end as messages and exit codes, see ``GuardedGroup``."""
    app()


if __name__ == "__main__":
    main()
