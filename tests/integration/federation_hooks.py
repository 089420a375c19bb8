"""The test's end of ``federation_hook``: give participants their hooks, tell calls to wait, let them go."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration import federation_hook
from tests.integration.federation_processes import wait_for


@dataclass(frozen=True)
class Hooks:
    """What is done inside a participant's processes.

    Attributes:
        holds: label to ``module:function``; each can be told to wait, see ``arm``.
        skips: ``module:function`` of what is not to be done; such a function returns an empty text.
        frames: a folder for all frames that leave the participant.
        update: how its outgoing weights are spoilt: ``nan``, ``shape`` or ``scale``.
        hostname: what the machine says it is called.
    """

    holds: Mapping[str, str] = field(default_factory=dict)
    skips: Sequence[str] = ()
    frames: Path | None = None
    update: str | None = None
    hostname: str | None = None

    def write(self, folder: Path) -> Path:
        """Make the folder for ``PYTHONPATH``."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(federation_hook.__file__, folder / "sitecustomize.py")
        wanted = {
            "holds": dict(self.holds),
            "skips": list(self.skips),
            "frames": str(self.frames) if self.frames else None,
            "update": self.update,
            "hostname": self.hostname,
        }
        text = json.dumps({key: value for key, value in wanted.items() if value})
        (folder / "hook.json").write_text(text, encoding="utf-8")
        return folder


def arm(folder: Path, label: str, after: int = 0) -> None:
    """Let the call of a held function wait that comes after ``after`` others."""
    disarm(folder, label)
    (folder / f"{label}.go").unlink(missing_ok=True)
    (folder / f"{label}.armed").write_text(str(after))


def disarm(folder: Path, label: str) -> None:
    """Forget what was told, and let go who waits."""
    (folder / f"{label}.go").touch()
    for state in ("armed", "held"):
        (folder / f"{label}.{state}").unlink(missing_ok=True)


def wait_held(folder: Path, label: str, seconds: float) -> int:
    """Wait until a call of the function waits.

    Returns:
        The process that it waits in.
    """

    def held() -> int | None:
        path = folder / f"{label}.held"
        return int(path.read_text()) if path.exists() else None

    return wait_for(held, seconds, f"call of {label}", every=0.02)
