"""The files of a FLARE app as they arrive: bounded, and exactly those that radfed itself would have written."""

import io
import json
import stat
import tempfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from radfed.errors import GateError, InvalidInputError
from radfed.federation.messages import Report
from radfed.federation.recipe import export_job
from radfed.job import SETTINGS_FILE, Job
from radfed.site.approval import SIGNATURE_FILES, read_app
from radfed.task import SegmentationTask, TaskSpec

CONFIG = "config"
FLARE_FILES = (f"{CONFIG}/config_fed_client.json", f"{CONFIG}/config_fed_server.json")
SETTINGS = f"{CONFIG}/{SETTINGS_FILE}"
_MEASURED = {"brier": "1 - Brier score", "accuracy": "right answers"}

_FOLDERS = frozenset({"", CONFIG, "custom"})
_MAX_ENTRIES = 32
_MAX_FILE = 1_000_000


class RefusedError(GateError):
    """A job that may not run here. The text begins with a code and is sent to the server: no path, no host in it."""


def files_of(archive: bytes) -> dict[str, bytes]:
    """Unpack an app in memory, within bounds.

    Args:
        archive: the zip that the server sent.

    Raises:
        RefusedError: it is no zip, too large, or holds anything but files in the folders that an app has.
    """
    try:
        with ZipFile(io.BytesIO(archive)) as content:
            entries = content.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise RefusedError(f"radfed:bad_job:{len(entries)} files, at most {_MAX_ENTRIES} are allowed")
            if len({entry.filename for entry in entries}) != len(entries):
                raise RefusedError("radfed:bad_job:two files have the same name")
            return {entry.filename: _read(content, entry) for entry in entries if _is_file(entry)}
    except (BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise RefusedError(f"radfed:bad_job:the archive cannot be read ({type(error).__name__})") from error


def leaving(task: TaskSpec) -> tuple[str, ...]:
    """What leaves a site beside the weights."""
    match task:
        case SegmentationTask():
            last = "for each label, sums of Dice over the test cases"
        case _:
            last = f"sums over the test cases of {' and '.join(_MEASURED.get(name, name) for name in task.measured)}"
    return (*Report.model_fields, f"once at the end, {last}")


def checked_job(files: Mapping[str, bytes]) -> Job:
    """The job of an app, if its files are just those that ``radfed job export`` writes for this job.

    Raises:
        RefusedError: a file is missing, is there without belonging there, or says something else.
    """
    own = {name: content for name, content in files.items() if name.rsplit("/", 1)[-1] not in SIGNATURE_FILES}
    strange = sorted(own.keys() - {*FLARE_FILES, SETTINGS})
    if strange:
        raise RefusedError(f"radfed:not_codeless:{_shown(strange[0])} does not belong into a job of radfed")
    missing = sorted({*FLARE_FILES, SETTINGS} - own.keys())
    if missing:
        raise RefusedError(f"radfed:bad_job:{missing[0]} is missing")
    job = _job(own[SETTINGS])
    expected = _expected(own[SETTINGS])
    if own[SETTINGS] != expected[SETTINGS]:
        raise RefusedError(f"radfed:bad_job:{SETTINGS} is not as this site's version of radfed would write it")
    for name in FLARE_FILES:
        if _canonical(name, own[name]) != _canonical(name, expected[name]):
            raise RefusedError(f"radfed:not_codeless:{name} is not the one that radfed writes for this job")
    return job


@lru_cache(maxsize=16)
def _expected(settings: bytes) -> Mapping[str, bytes]:
    """The app that this site's radfed exports for a job."""
    with tempfile.TemporaryDirectory(prefix="radfed-") as folder:
        return read_app(export_job(_job(settings), Path(folder)))


def _job(settings: bytes) -> Job:
    content = json.loads(_canonical(SETTINGS, settings))
    try:
        return Job.check(content, SETTINGS)
    except InvalidInputError as error:
        # What the job itself says is no secret of the site.
        raise RefusedError(f"radfed:bad_job:{_shown(str(error))}") from error


def _canonical(name: str, content: bytes) -> str:
    """JSON in one form, in which True is not 1; a key given twice is refused, for two readers may differ on it."""
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"radfed:bad_job:{name} is no proper JSON ({type(error).__name__})") from error
    return json.dumps(parsed, sort_keys=True)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _is_file(entry: ZipInfo) -> bool:
    """Whether an entry is a file of the app; False for one of its folders.

    Raises:
        RefusedError: it is neither: a link, a device, a path out of the app, or one that only looks harmless.
    """
    folder, _, file = entry.filename.rpartition("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    allowed = (0, stat.S_IFREG) if file else (0, stat.S_IFDIR)
    known = folder in _FOLDERS and (file not in (".", "..") if file else folder != "")
    if not known or kind not in allowed or "\\" in file:
        raise RefusedError(f"radfed:not_codeless:{_shown(entry.filename)} does not belong into a job of radfed")
    return file != ""


def _read(content: ZipFile, entry: ZipInfo) -> bytes:
    # The size that the archive states may be a lie; what is read is bounded too.
    with content.open(entry) as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE or entry.file_size > _MAX_FILE:
        raise RefusedError(f"radfed:bad_job:{_shown(entry.filename)} is larger than {_MAX_FILE} bytes")
    return data


def _shown(text: str) -> str:
    """Text of the submitter in a refusal: short, and in one line."""
    return "".join(character if character.isprintable() else " " for character in text)[:200]
