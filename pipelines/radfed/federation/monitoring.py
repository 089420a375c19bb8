"""What a participant says of itself to those who run it: heartbeats that were answered, logs without identifiers."""

import ipaddress
import json
import logging
import os
import re
import socket
import sys
import time
import traceback
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ProcessType
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import CellChannel, CellChannelTopic

from radfed.federation.health import HEALTH_FILE
from radfed.files import put_text

PATH, HOST, UID = "<path>", "<host>", "<uid>"

# A DICOM UID has at least six components in practice; five dots tell it from a version and an IPv4 address.
_UID = re.compile(r"(?<![\w.])[012](?:\.\d+){5,}(?![\w.])")
_QUOTED_PATH = re.compile(r"""(["'`])(~?/(?!/)|~?[A-Za-z]:\\|\\\\|file://)(?:(?!\1)[^\n])*\1""")
# A path that is not quoted goes on over a blank while what follows still holds a separator: "/data/Mrs Doe/ct.nii".
_PLAIN_PATH = re.compile(
    r"""file://[^\s'"]+|(?:(?<![\w./<>])~?/(?=[^\s/])|(?<!\w)[A-Za-z]:\\|(?<![\w\\])\\\\(?=\w))"""
    r"""[^\s'",;()\[\]{}]*(?:\ [^\s'",;:()\[\]{}]*[/\\][^\s'",;:()\[\]{}]*)*"""
)
_URL_HOST = re.compile(r"(?<=://)(\[[0-9A-Fa-f:.]+\]|[^\s/:'\"<>]+)")
_IPV4 = re.compile(r"(?<![\d.])(?!127\.)(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{3,39}(?![\w:])")


class HeartbeatFile(FLComponent):  # type: ignore[misc] # nvflare has no types
    """Writes ``health.json`` into a site's kit whenever the server answers a heartbeat.

    FLARE's own event ``AFTER_CLIENT_HEARTBEAT`` comes after a time-out as well, so it proves nothing; this one looks
    at the answers. Stands in a site's ``resources.json``; ``python -m radfed.federation.health KIT`` reads the file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._file: Path | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Begin and end in the client's parent process; its jobs have no need of it."""
        if fl_ctx.get_process_type() != ProcessType.CLIENT_PARENT:
            return
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            self._file = Path(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_root_dir()) / HEALTH_FILE
            self._write(registered=False)
        elif event_type == EventType.SYSTEM_START:
            cell = fl_ctx.get_engine().get_cell().core_cell
            cell.add_incoming_reply_filter(CellChannel.SERVER_MAIN, CellChannelTopic.HEART_BEAT, self._answered)
        elif event_type == EventType.SYSTEM_END:
            self._write(registered=False)

    def _answered(self, reply: Message) -> None:
        self._write(registered=reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK)

    def _write(self, *, registered: bool) -> None:
        if self._file is None:
            return
        try:
            put_text(self._file, json.dumps({"time": time.time(), "registered": registered}))
        except OSError as error:
            # A full disk must not end the federation; the file grows old, and that is what its reader looks at.
            self.logger.error(f"{HEALTH_FILE} cannot be written: {type(error).__name__}")


class LogScrubber(logging.Filter):
    """Takes absolute paths, host names, addresses and DICOM UIDs out of log records.

    Named in ``log_config.json`` (``"()": "radfed.federation.monitoring.LogScrubber"``) as a filter of every handler,
    so that the files and the console hold none. Of Python's own files the part that tells the module stays. Not
    found: a relative path, and what follows a blank in the last part of a path that is not quoted.

    Args:
        words: more that is to be taken out, for example a hospital's name in its host names.
    """

    def __init__(self, words: list[str] | None = None) -> None:
        super().__init__()
        own = socket.gethostname()
        hosts = {own, own.split(".")[0], *(words or ())} - {"", "localhost"}
        joined = "|".join(re.escape(name) for name in sorted(hosts, key=len, reverse=True))
        self._hosts = re.compile(rf"(?<![\w-])(?:{joined})(?:\.[\w-]+)*(?![\w-])", re.IGNORECASE) if hosts else None
        self._python = sorted({f"{Path(p).absolute()}{os.sep}" for p in sys.path if p}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; every record passes."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # Arguments that do not fit the text: Formatter would print them to stderr, unscrubbed.
            message = f"{record.msg} {record.args}"
        record.msg, record.args = self.scrub(message), None
        record.pathname = record.filename
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        record.exc_text = self.scrub(record.exc_text) if record.exc_text else None
        record.stack_info = self.scrub(record.stack_info) if record.stack_info else None
        return True

    def scrub(self, text: str) -> str:
        """The text without identifiers."""
        text = _QUOTED_PATH.sub(lambda found: found[1] + self._shown(found[0][1:-1]) + found[1], text)
        text = _PLAIN_PATH.sub(lambda found: self._shown(found[0]), text)
        text = _UID.sub(UID, text)
        text = _URL_HOST.sub(HOST, text)
        text = _IPV6.sub(_unless_no_address, _IPV4.sub(HOST, text))
        return self._hosts.sub(HOST, text) if self._hosts else text

    def _shown(self, path: str) -> str:
        """What may be said of a path: nothing, unless it is a module that Python itself would find."""
        if path.endswith(".py"):
            for folder in self._python:
                if path.startswith(folder):
                    return f"{PATH}/{path[len(folder) :]}"
        end = ":" if path.endswith(":") else ("." if path.endswith(".") else "")
        return PATH + end


def _unless_no_address(found: re.Match[str]) -> str:
    """A time of day looks like an address, too."""
    try:
        return found[0] if ipaddress.IPv6Address(found[0]).is_loopback else HOST
    except ipaddress.AddressValueError:
        return found[0]
