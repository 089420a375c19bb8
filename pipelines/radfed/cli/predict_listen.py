"""``radfed predict --listen``: a DICOM node in front of a model."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.site.config import SiteSettings


def listen_for(
    release: Path,
    out: Path,
    listen: str,
    send: str | None,
    site: "SiteSettings | None",
    quiet: float | None,
    accept: list[str] | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Listen until SIGTERM or Ctrl-C; what is told on stdout and stderr names no patient."""
    from radfed.imaging.dicom.options import ReadOptions
    from radfed.imaging.pacs.address import parse_address
    from radfed.imaging.pacs.listener import parse_listen
    from radfed.imaging.pacs.settings import PacsSettings
    from radfed.inference.listener.service import Listener, Listening
    from radfed.inference.listener.settings import ListenSettings
    from radfed.inference.opened import open_model

    given = {key: value for key, value in (("quiet", quiet), ("accept", accept or None)) if value is not None}
    base = site.listen if site else ListenSettings()
    how = Listening(
        address=parse_listen(listen),
        settings=ListenSettings.check(base.model_dump() | given, "--quiet and --accept"),
        pacs=site.pacs if site else PacsSettings(),
        to=parse_address(send) if send else None,
        reading=site.reading if site else ReadOptions(),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    listener = Listener(open_model(release, threads), out, how, lambda what: _tell(what, as_json))
    _tell({"ok": True, **listener.run(stop)}, as_json)


def _tell(what: dict[str, object], as_json: bool) -> None:
    """One line on stdout for programs, and the same on stderr for people."""
    emit(what, as_json)
    words = " ".join(f"{key}={value}" for key, value in what.items() if value not in (None, (), {}))
    style = "yellow" if what.get("reason") or "association" in what else None
    log.print(words, style=style, markup=False, soft_wrap=True)
