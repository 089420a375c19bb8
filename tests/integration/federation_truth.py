"""Whether a ledger tells the truth, by evidence that the server did not write: the sites' egress logs, files, kills."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from radfed.ledger import (
    FinalLine,
    Line,
    LinkLine,
    RoundLine,
    answers_of,
    conclude,
    read_ledger,
    required_of,
    rounds_of,
)
from radfed.site.egress import Sent, verify
from radfed.weights import load_weights, weights_digest


@dataclass(frozen=True)
class Death:
    """From a time on (s since the epoch) a site could send nothing for a FLARE job: its process was killed."""

    site: str
    job: str
    since: float


@dataclass(frozen=True)
class Evidence:
    """What can be known of a campaign without believing the server.

    Attributes:
        campaign: its name.
        store: its folder on the server.
        site_folders: by site, where ``egress.jsonl`` lies.
        rounds: how many the job asked for.
        jobs: ids of all FLARE jobs of the campaign, from FLARE's own list; None if it was not asked.
        deaths: which sites died when, in which job.
    """

    campaign: str
    store: Path
    site_folders: Mapping[str, Path]
    rounds: int
    jobs: frozenset[str] | None = None
    deaths: Sequence[Death] = field(default=())


def falsehoods(evidence: Evidence) -> list[str]:
    """Everything in a finished campaign's ledger that is not so, a sentence each; empty if all is true."""
    lines = read_ledger(evidence.store / "ledger.jsonl")
    return [
        *_order(lines),
        *_answers(lines, evidence),
        *_conclusion(lines, evidence),
        *_models(lines, evidence),
        *_links(lines, evidence),
    ]


def _order(lines: Sequence[Line]) -> list[str]:
    found = []
    numbers = [line.round for line in lines if isinstance(line, RoundLine)]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"rounds are written as {numbers}")
    if sum(isinstance(line, FinalLine) for line in lines) != 1 or not isinstance(lines[-1], FinalLine):
        found.append("the ledger does not end with its one final line")
    return found


def _answers(lines: Sequence[Line], evidence: Evidence) -> list[str]:
    """Each update that is said to be in a model has left its site, once, while the site lived."""
    found = []
    counted = [line for line in answers_of(lines) if line.accepted]
    for site, folder in evidence.site_folders.items():
        found += [f"egress log of {site}: {problem}" for problem in verify(folder).problems]
    sent = {site: _sent(folder, evidence.campaign) for site, folder in evidence.site_folders.items()}
    for line in counted:
        matching = [m for m in sent.get(line.site, ()) if m.digest == line.digest and m.round == line.round]
        if not matching:
            found.append(f"round {line.round}: {line.site} never sent what was accepted from it")
        elif all(_was_dead(line.site, m, evidence.deaths) for m in matching):
            found.append(f"round {line.round}: {line.site} was dead when it is said to have answered")
        if any(m.bytes != line.bytes for m in matching):
            found.append(f"round {line.round}: {line.site} sent another number of bytes than the ledger says")
    doubled = [key for key, count in Counter((a.round, a.site) for a in counted).items() if count > 1]
    found += [f"round {number}: {site} is counted twice" for number, site in doubled]
    for aggregate in (line for line in lines if isinstance(line, RoundLine)):
        if sum(answer.round == aggregate.round for answer in counted) != aggregate.accepted:
            found.append(f"round {aggregate.round}: the number of accepted updates is not that of its answers")
    return found


def _sent(folder: Path, campaign: str) -> list[Sent]:
    lines = (line for line in verify(folder).lines if isinstance(line, Sent))
    return [line for line in lines if line.campaign == campaign and line.digest is not None]


def _was_dead(site: str, message: Sent, deaths: Sequence[Death]) -> bool:
    at = datetime.fromisoformat(message.time).timestamp()
    return any(d.site == site and d.job == message.job and d.since < at for d in deaths)


def _conclusion(lines: Sequence[Line], evidence: Evidence) -> list[str]:
    last = lines[-1]
    if not isinstance(last, FinalLine):
        return []
    drawn = conclude(lines[:-1], required_of(lines), evidence.rounds)
    return [] if drawn == last else [f"the final line is {last}, but what it concludes from gives {drawn}"]


def _models(lines: Sequence[Line], evidence: Evidence) -> list[str]:
    """The files are those whose digests the ledger names."""
    last, found = lines[-1], []
    if not isinstance(last, FinalLine) or last.outcome == "FAILED":
        return []
    for name, digest in (("best", last.digest), ("final", rounds_of(lines)[-1].digest)):
        if weights_digest(load_weights(evidence.store / f"{name}.safetensors")) != digest:
            found.append(f"{name}.safetensors is not the model of which the ledger names the digest")
    return found


def _links(lines: Sequence[Line], evidence: Evidence) -> list[str]:
    links = [line for line in lines if isinstance(line, LinkLine)]
    found = []
    if [line.link for line in links] != list(range(1, len(links) + 1)):
        found.append(f"links are numbered {[line.link for line in links]}")
    if len({line.job_id for line in links}) != len(links):
        found.append("two links name one FLARE job")
    if evidence.jobs is not None and not {line.job_id for line in links} <= evidence.jobs:
        found.append("a link names a FLARE job that FLARE does not know")
    for earlier, link in zip([None, *links], links, strict=False):
        before = [line for line in lines[: lines.index(link)] if isinstance(line, RoundLine)]
        expected = before[-1].round + 1 if before else 1
        if link.first_round != expected:
            found.append(f"link {link.link} begins with round {link.first_round}, expected {expected}")
        if link.digest != (before[-1].digest if before else None):
            found.append(f"link {link.link} begins with a model that is not that of the round before")
        if earlier is not None and link.required != earlier.required:
            found.append(f"link {link.link} requires other sites than the one before")
    return found
