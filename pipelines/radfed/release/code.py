"""Which code built a release: ``training/code.json``."""

import os
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

import radfed
from radfed.settings import Settings
from radfed.site.approval_facts import code_digest


class CodeFacts(Settings):
    """The code that exported, checked and packaged the model; the sites' own may have been another."""

    radfed: str = Field(description="Version")
    code: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="SHA-256 over the package's source files, as a site's approval shows it"
    )
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")] | None = Field(
        default=None, description="Of git, if the package lies in a checkout"
    )
    changed: bool | None = Field(default=None, description="Whether the checkout held changes; null without one")
    built: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = Field(
        description="UTC; of SOURCE_DATE_EPOCH, if the environment sets it"
    )


@cache
def installed_code() -> str:
    """SHA-256 of the package that runs; once in a process, which loads no file twice either."""
    return code_digest()


def code_facts() -> CodeFacts:
    """The facts of the package that runs."""
    folder = Path(radfed.__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    # A folder inside somebody else's checkout, say a virtual environment, is no checkout of radfed.
    if not commit or not _git(folder, "ls-files", "--", "__init__.py"):
        commit = None
    status = None if commit is None else _git(folder, "status", "--porcelain", "--", ".")
    changed = None if status is None else bool(status)
    return CodeFacts(radfed=radfed.__version__, code=installed_code(), commit=commit, changed=changed, built=_today())


def _today() -> str:
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.fromtimestamp(int(seconds), UTC) if seconds and seconds.isdigit() else datetime.now(UTC)
    return when.date().isoformat()


def _git(folder: Path, *command: str) -> str | None:
    """What git says; None without git or a repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
