"""Options that several ``radfed job`` commands share: what may be changed of a job from the command line."""

from typing import Annotated

import typer

Rounds = Annotated[int | None, typer.Option(min=1, help="Instead of the job's own number.")]
LocalSteps = Annotated[int | None, typer.Option(min=1, help="Optimiser steps of each site in a round.")]
LinkRounds = Annotated[int | None, typer.Option(min=0, help="Rounds in one FLARE job of the chain; 0 for all in one.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Instead of the job's own seed.")]
Sites = Annotated[
    list[str] | None, typer.Option("--sites", help="A required site; give one for each. Default: those connected.")
]
MinSites = Annotated[int | None, typer.Option(min=1, help="The quorum, instead of the job's own.")]
Campaign = Annotated[str | None, typer.Option(help="Name of the campaign. Default: the job's name and a random end.")]
AnyJob = Annotated[
    str,
    typer.Argument(
        help="A job's folder, the name of a shipped job, or fingerprint, validation or leakage.", metavar="JOB"
    ),
]
