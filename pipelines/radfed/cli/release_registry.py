"""``radfed release push``, ``pull`` and ``list``: releases between institutions."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from radfed.cli.console import emit, log

RegistryArgument = Annotated[
    str, typer.Argument(metavar="REGISTRY", help="A folder, or an OCI registry as oci://HOST[:PORT]/PATH.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def push(
    release: Annotated[Path, typer.Argument(metavar="RELEASE", help="A release's folder.")],
    registry: RegistryArgument,
    as_json: JsonFlag = False,
) -> None:
    """Put a release into a registry, where others find it.

    It is verified first; exits 3 if any claim is false, or if the registry holds another release of this name and
    version. Credentials of an OCI registry are those of 'docker login' or 'oras login'.

    Example: radfed release push releases/lungs-1.0.0 oci://registry.example.org/models
    """
    from radfed.release.registry import push as run

    entry, new = run(release, registry)
    where = f"{registry.rstrip('/')}/{entry.name}:{entry.version}"
    log.print(f"{where}: {'pushed' if new else 'is there already, the same'}", markup=False, soft_wrap=True)
    emit({"reference": where, "new": new, **entry.model_dump(mode="json")}, as_json)


def pull(
    reference: Annotated[
        str, typer.Argument(metavar="REGISTRY/NAME:VERSION", help="As 'radfed release list' names it.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder in which <name>-<version>/ is made.")],
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="Of who must have signed it, in PEM; without, any whose claims hold."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fetch a release from a registry; exits 3, keeping nothing, if any claim of it is false.

    Example: radfed release pull oci://registry.example.org/models/lungs:1.0.0 --out releases --public-key signer.pub
    """
    from radfed.release.registry import pull as run

    release = run(reference, out, public_key)
    log.print(f"{release}: fetched and verified", markup=False, soft_wrap=True)
    emit({"release": str(release)}, as_json)


def list_(registry: RegistryArgument, as_json: JsonFlag = False) -> None:
    """List the releases in a registry."""
    from radfed.release.registry import open_registry

    entries = open_registry(registry).entries()
    table = Table("name", "version", "digest of SHA256SUMS")
    for entry in entries:
        table.add_row(entry.name, entry.version, (entry.digest or "")[:16])
    log.print(table if entries else f"{registry}: holds no release")
    emit({"releases": [entry.model_dump(mode="json") for entry in entries]}, as_json)
