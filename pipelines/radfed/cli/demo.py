"""``radfed demo``: the whole line on this machine."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.job import Job
    from radfed.ledger import Line
    from radfed.workflow.demo import DemoResult


def demo(
    out: Annotated[Path, typer.Option(help="New folder for datasets, run, release and report.")] = Path("radfed-demo"),
    data: Annotated[
        str,
        typer.Option(
            help="'phantoms' (made here, no data needed), a dataset's name under $RADFED_DATA such as "
            "msd_hippocampus, or a folder in MSD layout; an index.csv with the columns id and site deals its cases out."
        ),
    ] = "phantoms",
    job: Annotated[
        str | None, typer.Option(help="A job's name or folder; default: the one that fits the data.")
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Is it worth it? Also train each site alone and all data pooled."),
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of phantoms and training.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Instead of the job's number of rounds.")] = None,
    local_steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of each site in a round.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the data from their official address.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """From scans at three hospitals to a federated model, exported, measured and shown.

    Makes three sites on this machine, ingests their data, trains a federated model on FLARE, exports it to ONNX
    behind a parity gate, scores the exported model on every site's test cases, and writes a release and a report.

    Example: radfed demo --out demo, then open demo/report/report.html
    """
    from radfed.workflow.demo import DemoSettings, run_demo

    settings = DemoSettings(out, data, job, seed, rounds, local_steps, baselines, download)
    result = run_demo(settings, _Console(as_json))
    _show(result)
    emit(_content(result), as_json)


class _Console:
    """Tells the demo's story on stderr."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain

    def say(self, words: str) -> None:
        log.print(words, markup=False, soft_wrap=True)

    @contextmanager
    def federation(self, job: "Job") -> Iterator[Callable[["Line"], None]]:
        from radfed.cli.live import federation_view, say

        self.say(f"federation: {job.job.name}, {job.job.federation.rounds} rounds on FLARE")
        with federation_view(job.job.federation.rounds, plain=self._plain) as view:
            yield lambda line: say(view, line, plain=self._plain)

    def cases(self, what: str) -> AbstractContextManager[Callable[[int, int], None]]:
        from radfed.cli.progress import case_progress

        return case_progress(what)


def _show(result: "DemoResult") -> None:
    from radfed.validation.kinds import headline_of

    heads = {"federated (exported ONNX)": headline_of(result.summary)}
    heads |= {name: headline_of(summary) for name, summary in result.baselines.items()}
    first = next(iter(heads.values()))
    beside = [name for name, _ in first.beside]
    scores = Table("model", first.name, "95 % interval", *beside, title="On the test cases of all sites")
    for name, head in heads.items():
        value = "-" if head.value is None else f"{head.value:.3f}"
        interval = "-" if head.low is None or head.high is None else f"{head.low:.3f} to {head.high:.3f}"
        scores.add_row(name, value, interval, *(f"{other:.3f}" for _, other in head.beside))
    log.print(scores)
    total = sum(result.seconds.values())
    times = Table("where the time went", "seconds", "share")
    for kind, seconds in result.seconds.items():
        times.add_row(kind, f"{seconds:.1f}", f"{seconds / total:.0%}")
    times.add_row("all", f"{total:.1f}", f"{result.overhead:.0%} outside training and evaluation")
    log.print(times)
    made = {"release": result.release, "report": result.report, "pdf": result.pdf}
    for name, path in made.items():
        if path is not None:
            log.print(f"{name + ':':<8} {path}", markup=False, soft_wrap=True)


def _content(result: "DemoResult") -> dict[str, object]:
    return {
        "release": str(result.release),
        "report": str(result.report),
        "pdf": str(result.pdf) if result.pdf else None,
        "outcome": result.final.outcome,
        "best_round": result.final.best_round,
        "summary": result.summary.model_dump(mode="json"),
        "baselines": {name: summary.model_dump(mode="json") for name, summary in result.baselines.items()},
        "seconds": {kind: round(seconds, 2) for kind, seconds in result.seconds.items()},
        "overhead": round(result.overhead, 4),
    }
