"""The trainer as a process of its own: ``python -m radfed.training.process`` answers requests until its input ends.

A request is one line of JSON on stdin, an answer one line on stdout; weights travel as safetensors files. Whoever
started the trainer holds the other end of its stdin: when that one dies, so does the trainer, in the middle of a step.

With ``--together``, under torch's own launcher, it is one of several: the first answers, the others do as it says.
"""

import json
import os
import select
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TextIO

from radfed.errors import InvalidInputError, RadfedError, TrainingError
from radfed.settings import Settings

if TYPE_CHECKING:
    from radfed.training.ranks import Ranks
    from radfed.training.session import Session

TOGETHER = "--together"


class Request(Settings):
    """What the trainer may be asked."""

    do: Literal["open", "train", "validate", "test", "stop"]
    job: Path | None = None
    site: dict[str, Any] | None = None
    name: str = ""
    weights: Path | None = None
    round: int = 0
    out: Path | None = None
    states: Path | None = None
    account: Path | None = None


def serve(requests: TextIO, answers: TextIO, ranks: "Ranks") -> None:
    """Answer requests in their order; ``stop`` ends the training that runs."""
    queue: SimpleQueue[Request] = SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        try:
            for text in requests:
                request = Request.check(json.loads(text), "request")
                if request.do == "stop":
                    stop.set()
                else:
                    # Here, not when its turn comes: a stop that is sent at once is meant for it.
                    stop.clear()
                    queue.put(request)
        finally:
            # Nobody is left to work for; a running step is not worth its end.
            os._exit(0 if ranks.alone else 1)

    threading.Thread(target=listen, daemon=True).start()
    session: Session | None = None
    while True:
        request = queue.get()
        answer: Mapping[str, object]
        broken = False
        try:
            if request.do == "open":
                session = _open(request, ranks)
                ranks.tell(request.model_dump(mode="json"))
                answer = {"ok": {}}
            elif session is None:
                raise InvalidInputError("the trainer was asked to work before it was given a job")
            else:
                answer = {"ok": session.work(request, stop.is_set)}
        except RadfedError as error:
            answer = {"error": error.reason, "text": str(error)}
        # Torch's words for everything from a wrong shape to memory that ran out.
        except (RuntimeError, ValueError) as error:
            answer = {"error": TrainingError.reason, "text": f"{type(error).__name__}: {error}"}
            # The others may be in the middle of a step that this process has left.
            broken = not ranks.alone
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if broken:
            os._exit(1)


def follow(ranks: "Ranks") -> None:
    """Do what the first process tells, until whoever started the trainer has ended."""

    def watch() -> None:
        # Without reading: what comes there is for the first process. All that is ever reported is the end.
        poll = select.poll()
        poll.register(0, 0)
        poll.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    session: Session | None = None
    while True:
        request = Request.check(ranks.told(), "request")
        if session is None or request.do == "open":
            session = _open(request, ranks)
        else:
            # Raised in all processes alike, after the same steps: the first one answers. Anything else ends this one.
            with suppress(TrainingError):
                session.follow(request)


def _open(request: Request, ranks: "Ranks") -> "Session":
    # Who imports this module to write a request need not wait for torch.
    from radfed.training.session import Session

    if request.job is None or request.site is None:
        raise InvalidInputError("to open a session the trainer needs the job and the site's settings")
    return Session.open(request.job, request.site, request.name, ranks)


def main() -> None:
    """Keep stdout for answers alone: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import radfed.training.session  # noqa: F401 - torch is loaded while the server still prepares
    from radfed.training.ranks import ALONE, join_ranks

    ranks = join_ranks() if TOGETHER in sys.argv[1:] else ALONE
    if ranks.leads:
        serve(sys.stdin, answers, ranks)
    else:
        try:
            follow(ranks)
        except Exception:  # whatever it was, the others must not wait for this one while it takes leave of torch
            traceback.print_exc()
            os._exit(1)


if __name__ == "__main__":
    main()
