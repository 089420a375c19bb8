"""The trainer as a process of its own: ``python -m radfed.training.process`` answers requests until its input ends.

A request is one line of JSON on stdin, an answer one line on stdout; weights travel as safetensors files. Whoever
started the trainer holds the other end of its stdin: when that one dies, so does the trainer, in the middle of a step.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, TextIO

from radfed.errors import InvalidInputError, RadfedError, TrainingError
from radfed.settings import Settings

if TYPE_CHECKING:
    from radfed.training.session import Session


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


def serve(requests: TextIO, answers: TextIO) -> None:
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
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    session: Session | None = None
    while True:
        request = queue.get()
        answer: Mapping[str, object]
        try:
            if request.do == "open":
                session = _open(request)
                answer = {"ok": {}}
            elif session is None:
                raise InvalidInputError("the trainer was asked to work before it was given a job")
            else:
                answer = {"ok": session.work(request, stop.is_set)}
        except RadfedError as error:
            answer = {"error": error.reason, "text": str(error)}
        except RuntimeError as error:  # torch's word for everything from a wrong shape to memory that ran out
            answer = {"error": TrainingError.reason, "text": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _open(request: Request) -> "Session":
    # Who imports this module to write a request need not wait for torch.
    from radfed.training.session import Session

    if request.job is None or request.site is None:
        raise InvalidInputError("to open a session the trainer needs the job and the site's settings")
    return Session.open(request.job, request.site, request.name)


def main() -> None:
    """Keep stdout for answers alone: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import radfed.training.session  # noqa: F401 - torch is loaded while the server still prepares

    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
