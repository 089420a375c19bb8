"""``radfed site``: set up a site."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log

app = typer.Typer(help="Set up a site.", no_args_is_help=True)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The site's own folder, outside any dataset.")],
    name: Annotated[str, typer.Option("--name", help="Name of the site in the federation, for example site-a.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Make a site: site.yaml, to be edited, and secret.key, which keys the pseudonyms and never leaves the site.

    Back the folder up: without the secret, a second ingest gives patients other pseudonyms.
    """
    from radfed.site.config import SECRET_FILE, SITE_FILE, init_site

    settings = init_site(folder, name)
    log.print(f"{folder}: wrote {SITE_FILE} and {SECRET_FILE} for {settings.name}", markup=False, soft_wrap=True)
    emit({"site": settings.name, "site_yaml": str(folder / SITE_FILE)}, as_json)
