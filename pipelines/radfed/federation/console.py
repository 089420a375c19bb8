"""FLARE's admin console as a few calls that end in bounded time, reconnect by themselves and print nothing."""

import contextlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from nvflare.apis.fl_exception import FLCommunicationError
from nvflare.fuel.f3.cellnet.cell_cipher import InvalidCertChain
from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    InvalidJobDefinition,
    JobNotDone,
    JobNotFound,
    JobNotRunning,
    NoConnection,
    NoReply,
    SessionClosed,
    SubmitTokenConflict,
    SubmitTokenJobDeleted,
)
from nvflare.fuel.flare_api.flare_api import Session

from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.federation.admin_kit import AdminKit, read_admin_kit, why_refused
from radfed.federation.messages import LEDGER_TOPIC
from radfed.federation.sightings import JobStatus, LedgerPage, Life, UnreachableError

T = TypeVar("T")

_CONNECT = 10.0
# Seconds that FLARE may take for a command; its default of 5 is short for a server that is busy aggregating.
_COMMAND = 15.0
# Seconds for FLARE to pack a job's results, and between two pieces of them on their way.
_DOWNLOAD, _PIECE = 600.0, 60.0
_PAUSE = 1.0
_LOST = (NoConnection, SessionClosed, FLCommunicationError)
# What a server says that is about to stop, or too busy; RuntimeError is FLARE's word for any answer it has no name for.
_PASSING = (*_LOST, NoReply, InternalError, RuntimeError)
_REFUSED = (AuthenticationError, AuthorizationError, InvalidCertChain)


class Console:
    """A person's session with a federation's server.

    Every call reconnects if the server was restarted, and gives up after ``patience``.

    Args:
        kit: startup kit of the person.
        patience: seconds after which a call that finds no server raises ``UnreachableError``.

    Raises:
        InvalidInputError: the folder is no administrator's kit.
        GateError: its certificate has ended.
    """

    def __init__(self, kit: Path, patience: float = 30.0) -> None:
        self.kit: AdminKit = read_admin_kit(kit)
        self._patience = patience
        self._session: Session | None = None
        # FLARE logs what it then raises; a handler of its own keeps Python from writing it to stderr.
        logging.getLogger("nvflare").addHandler(logging.NullHandler())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            _end(session)

    def sites(self) -> tuple[str, ...]:
        """Names of the sites that are connected."""
        return tuple(sorted(client.name for client in self._call(lambda s: s.get_connected_client_list())))

    def submit(
        self, folder: Path, token: str, *, name: str | None = None, mandatory: Sequence[str] | None = None
    ) -> str:
        """Submit an exported job; with the same token again it is still the same job, whatever was lost on the way.

        A copy is sent: FLARE writes signatures into the folder that it sends, and takes a ``custom/`` with nothing but
        its own signature for shipped code.

        Args:
            folder: the exported job.
            token: names the submission; letters, digits and ``._:-``, at most 128.
            name: what FLARE calls the job; default is the exported one.
            mandatory: sites without which FLARE does not start the job; default is as exported.

        Returns:
            FLARE's id of the job.

        Raises:
            InvalidInputError: FLARE does not take the job's definition.
            GateError: this person may not submit jobs.
            FederationError: FLARE failed, or the job with this token was deleted.
        """
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / folder.name
            _copy_job(folder, copy, {"name": name, "mandatory_clients": list(mandatory) if mandatory else None})
            try:
                job_id: str = self._call(lambda s: s.submit_job(str(copy), submit_token=token))
            except SubmitTokenConflict as error:
                if not error.existing_job_id:
                    raise FederationError(f"FLARE knows the token {token} and no job for it: {error}") from error
                job_id = error.existing_job_id
            except SubmitTokenJobDeleted as error:
                raise FederationError(f"the job of token {token} was deleted from the server: {error}") from error
            except InvalidJobDefinition as error:
                raise InvalidInputError(f"{folder}: FLARE does not take this job: {error}") from error
        return job_id

    def status(self, job_id: str) -> JobStatus:
        """What FLARE says of a job.

        Raises:
            InvalidInputError: there is no such job.
        """
        try:
            return JobStatus.of(self._call(lambda s: s.get_job_meta(job_id)))
        except JobNotFound as error:
            raise InvalidInputError(
                f"{self.kit.federation} has no job {job_id!r} (or it is not yours); see 'radfed job watch'"
            ) from error

    def ledger(self, job_id: str, after: int = 0) -> LedgerPage:
        """The lines of a running job's ledger from index ``after`` on, and whether the job shows any life.

        Raises:
            GateError: this person may not ask.
        """
        try:
            session = self._connected()
            content = session.do_app_command(job_id, LEDGER_TOPIC, {"after": after})
        except JobNotRunning:
            return LedgerPage(Life.GONE)
        except (NoReply, InternalError):
            return LedgerPage(Life.SILENT)
        except AuthorizationError as error:
            raise GateError(
                f"{self.kit.user} may not read the ledger of a running job; in the server's local/authorization.json "
                'the role needs "app_command": "any"'
            ) from error
        except _LOST:
            # The job's process and this console wait equally long; whose patience ended is found out from the server.
            self._drop()
            self.status(job_id)
            return LedgerPage(Life.SILENT)
        return LedgerPage.of(content)

    def abort(self, job_id: str) -> bool:
        """Have FLARE end a job.

        Returns:
            Whether FLARE will say that it has ended. False for a job that a killed server left behind: FLARE calls
            it running for ever.
        """
        try:
            self._call(lambda s: s.abort_job(job_id), (*_LOST, NoReply))
        except (InternalError, JobNotRunning, RuntimeError):
            return False
        return True

    def download(self, job_id: str, into: Path) -> Path | None:
        """Fetch what a job left behind.

        Args:
            job_id: a job that has ended.
            into: a folder that is not there yet; it is there only if it is whole.

        Returns:
            ``into``, with the job's ``radfed/`` folder as its content; None if the job left none.

        Raises:
            FederationError: the job still runs, or FLARE failed.
        """
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
            try:
                location = self._call(lambda s: _download(s, job_id, scratch))
            except JobNotDone as error:
                raise FederationError(f"job {job_id} has not ended; its results come when it has") from error
            found = Path(location) / "workspace" / "radfed" if location else None
            if found is None or not found.is_dir():
                return None
            os.replace(found, into)
        return into

    def jobs(self, campaign: str) -> list[JobStatus]:
        """The jobs of a campaign, in the order of their submission."""
        found = self._call(lambda s: s.list_jobs(detailed=True, name_prefix=campaign))
        return [status for status in map(JobStatus.of, found) if status.name == campaign]

    def _call(self, action: Callable[[Session], T], passing: tuple[type[Exception], ...] = _PASSING) -> T:
        """Do something with the session, with a new one where the old is lost, for as long as ``patience`` allows.

        Args:
            action: what to do.
            passing: what FLARE raises for a while and then no more; tried again.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return action(self._connected())
            except AuthorizationError as error:
                raise GateError(f"{self.kit.user} may not do this in {self.kit.federation}: {error}") from error
            except passing as error:
                self._drop()
                if time.monotonic() >= deadline:
                    raise UnreachableError(
                        f"the server at {self.kit.host}:{self.kit.port} does not answer ({error}); is it running?"
                    ) from error
                time.sleep(_PAUSE)

    def _connected(self) -> Session:
        if self._session is None:
            self._session = self._connect()
        return self._session

    def _connect(self) -> Session:
        """Open a session as ``new_secure_session`` does, without the words that FLARE prints meanwhile.

        Raises:
            GateError: the server refused the kit, or the kit the server.
        """
        session = Session(self.kit.user, str(self.kit.folder))
        session.api._print_hci = lambda _: None
        # Its default is 15 tries of 5 s each; this class counts for itself.
        session.api.auto_login_max_tries = 1
        session.set_timeout(_COMMAND)
        try:
            # FLARE prints a traceback for an error that it also raises.
            with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
                session.try_connect(_CONNECT)
        except (*_LOST, *_REFUSED, InternalError, RuntimeError) as error:
            session.api.close()
            why = why_refused(self.kit)
            if why is None and isinstance(error, _REFUSED):
                why = f"the server does not take {self.kit.user} ({error}); ask the federation for a new kit"
            if why is not None:
                raise GateError(f"{self.kit.folder}: {why}") from error
            raise NoConnection(str(error)) from error
        return session

    def _drop(self) -> None:
        """Let go of a session that is lost, without a farewell that nobody would hear."""
        session, self._session = self._session, None
        if session is not None:
            session.api.close()


def _end(session: Session) -> None:
    try:
        session.close()
    except _LOST:
        session.api.close()


def _download(session: Session, job_id: str, into: str) -> str | None:
    session.api.file_download_progress_timeout = _PIECE
    session.set_timeout(_DOWNLOAD)
    try:
        location: str | None = session.download_job_result(job_id, into)
    finally:
        session.set_timeout(_COMMAND)
    return location


def _copy_job(folder: Path, copy: Path, changes: Mapping[str, object]) -> None:
    """Copy an exported job without FLARE's signatures and without empty folders, with changes to its meta data.

    Raises:
        InvalidInputError: the folder holds no FLARE job.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{folder}: holds no readable meta.json; write a FLARE job with radfed job export"
        ) from error
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".__nvfl_"):
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    meta.update({key: value for key, value in changes.items() if value is not None})
    (copy / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
