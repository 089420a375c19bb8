"""A site's own folder: ``site.yaml``, what it has decided, and ``secret.key``, which keys its pseudonyms."""

import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from radfed.dataset.splits import SplitSettings
from radfed.errors import GateError, InvalidInputError
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.pacs.settings import PacsSettings
from radfed.inference.listener.settings import ListenSettings
from radfed.settings import Settings
from radfed.site.approval_settings import ApprovalSettings
from radfed.site.statistics_settings import StatisticsSettings

SITE_FILE, SECRET_FILE, PSEUDONYMS_FILE = "site.yaml", "secret.key", "pseudonyms.csv"
SECRET_BYTES = 32
_PACS_FILES = ("ca_file", "certificate", "key", "credentials")

SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class SiteSettings(Settings):
    """What a site has decided. Lives in ``site.yaml``; paths are relative to it."""

    name: SiteName = Field(description="Name of the site in the federation, for example site-a")
    dataset: Path | None = Field(default=None, description="Folder of the prepared dataset that jobs may train on")
    max_refused: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2, description="Largest share of cases that may fail their checks when data are ingested"
    )
    split: SplitSettings = Field(default=SplitSettings(), description="Shares of patients kept from training")
    threads: Annotated[int, Field(ge=1)] | None = Field(default=None, description="CPU threads of a job; all if empty")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where jobs run")
    training_processes: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Processes that train one job together; on CUDA each takes a GPU of its own"
    )
    gpu_memory: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="Memory of the GPU for jobs (GiB), told in a fingerprint; not told if empty"
    )
    reading: ReadOptions = Field(default=ReadOptions(), description="What reading DICOM may do to voxels")
    deidentification: DeidSettings = Field(default=DeidSettings(), description="What is taken out of DICOM")
    pacs: PacsSettings = Field(default=PacsSettings(), description="How the PACS is reached")
    listen: ListenSettings = Field(default=ListenSettings(), description="What radfed predict --listen takes")
    kit: Path | None = Field(default=None, description="Folder of the startup kit with which the site joins")
    releases: Path | None = Field(
        default=None, description="Folder of fetched releases, which jobs may ask about; they name one by its digest"
    )
    approval: ApprovalSettings = Field(default=ApprovalSettings(), description="Which jobs may run without asking")
    statistics: StatisticsSettings = Field(
        default=StatisticsSettings(), description="How careful a fingerprint of the data is"
    )


def init_site(folder: Path, name: str) -> SiteSettings:
    """Make a site's folder: ``site.yaml`` and a random ``secret.key`` that only its owner may read (mode 0600).

    Raises:
        InvalidInputError: the name is not allowed, or one of the files is already there.
    """
    settings = SiteSettings.check({"name": name}, source="site name")
    there = [file for file in (SITE_FILE, SECRET_FILE) if (folder / file).exists()]
    if there:
        raise InvalidInputError(
            f"{folder}: already holds {' and '.join(there)}; a new secret would change every pseudonym. "
            "Use this site as it is, or give another folder"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # site.yaml comes last: a site that has one also has its secret.
    _create(folder / SECRET_FILE, secrets.token_bytes(SECRET_BYTES), mode=0o600)
    _create(folder / SITE_FILE, settings.to_yaml().encode(), mode=0o644)
    return settings


def read_site(path: Path) -> SiteSettings:
    """Read ``site.yaml``, given as the file or its folder; paths in it come back absolute.

    Raises:
        InvalidInputError: the file is missing, or a key or value is not allowed.
    """
    file = path / SITE_FILE if path.is_dir() else path
    settings = SiteSettings.read(file)
    folder = file.absolute().parent
    found = {name: _resolved(getattr(settings.pacs, name), folder) for name in _PACS_FILES}
    pacs = settings.pacs.model_copy(update=found)
    own = {name: _resolved(getattr(settings, name), folder) for name in ("dataset", "kit", "releases")}
    return settings.model_copy(update=own | {"pacs": pacs})


def _resolved(path: Path | None, folder: Path) -> Path | None:
    return None if path is None else (folder / path).resolve()


def read_secret(folder: Path) -> bytes:
    """Read the secret of a site's folder.

    Raises:
        GateError: others may read the file.
        InvalidInputError: it is missing or too short.
    """
    path = folder / SECRET_FILE
    try:
        mode = path.stat().st_mode & 0o777
        if os.name == "posix" and mode & 0o077:
            raise GateError(
                f"{path}: others may read the secret that keys the pseudonyms (mode {mode:04o}); run: chmod 600 {path}"
            )
        secret = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{path}: cannot be read ({type(error).__name__}); make a site with radfed site init DIR"
        ) from error
    if len(secret) < SECRET_BYTES:
        raise InvalidInputError(f"{path}: must hold at least {SECRET_BYTES} random bytes, got {len(secret)}")
    return secret


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file with its mode set from the start; an existing one is never touched."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def open_site(path: Path | None, beside: Path, name: str | None) -> tuple[Path, SiteSettings]:
    """The site's folder and settings: those of ``path``, else of ``<beside>.site/``, which is made if it is new.

    Args:
        path: ``site.yaml`` or its folder, or None.
        beside: the dataset that the site is for.
        name: name of a site that is made; default is the dataset's name.
    """
    if path is not None:
        return (path if path.is_dir() else path.absolute().parent), read_site(path)
    folder = beside.absolute().with_name(f"{beside.absolute().name}.site")
    if (folder / SITE_FILE).exists():
        return folder, read_site(folder)
    return folder, init_site(folder, name or _as_name(beside.absolute().name))


def _as_name(text: str) -> str:
    """Text as a site name: other characters become '-'."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:64] or "site"
