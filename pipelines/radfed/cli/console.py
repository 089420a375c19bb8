"""What all commands share: messages on stderr, one JSON object on stdout, errors as exit codes."""

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import typer
from rich.console import Console
from typer.core import TyperGroup

from radfed.errors import RadfedError

log = Console(stderr=True, highlight=False)

INTERRUPTED = 130
T = TypeVar("T")


def emit(obj: Mapping[str, object], as_json: bool) -> None:
    """Print an object on stdout if it was asked for; people read ``log`` instead."""
    if as_json:
        typer.echo(json.dumps(obj, ensure_ascii=False, default=str))


def fail(message: str, code: int, reason: str, as_json: bool) -> typer.Exit:
    """Say what went wrong, one line a problem, and give the exit to raise."""
    for line in message.splitlines():
        log.print(f"[red]error:[/red] {_escaped(line)}", soft_wrap=True)
    emit({"error": message, "reason": reason, "exit_code": code}, as_json)
    return typer.Exit(code)


def run_guarded(action: Callable[[], T], as_json: bool) -> T:
    """Run an action; what radfed or the disk raises ends as a message and an exit code, a bug as a traceback.

    Raises:
        typer.Exit: with the error's exit code, or 130 if the user interrupted.
    """
    try:
        return action()
    except RadfedError as error:
        raise fail(str(error), error.exit_code, error.reason, as_json) from error
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of stdout has gone; Typer knows what to do
            raise
        where = f": {error.filename}" if error.filename else ""
        raise fail(f"{error.strerror or type(error).__name__}{where}", 1, "os_error", as_json) from error
    except KeyboardInterrupt as error:
        raise fail("interrupted", INTERRUPTED, "interrupted", as_json) from error


class GuardedGroup(TyperGroup):
    """A command group whose commands all run guarded, from a shell and in tests alike."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's context is not public
        """Remember whether JSON was asked for, before the command itself is known."""
        ctx.meta["radfed.json"] = _asks_for_json(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's context is not public
        """Run the chosen command guarded."""
        return run_guarded(lambda: super(GuardedGroup, self).invoke(ctx), as_json=bool(ctx.meta["radfed.json"]))


def _asks_for_json(args: Sequence[str]) -> bool:
    """Whether ``--json`` stands among the options."""
    before = args[: args.index("--")] if "--" in args else args
    return "--json" in before


def _escaped(text: str) -> str:
    """Text in which square brackets are no markup."""
    return text.replace("[", r"\[")
