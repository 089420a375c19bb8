"""What a report knows beside scores, whatever the kind of task."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from radfed.ledger import Line
from radfed.metrics.intervals import Bootstrap
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.validation.flow import SiteFlow
from radfed.validation.grouping import Traits


@dataclass(frozen=True, kw_only=True)
class Background:
    """Where the cases came from, how the model was trained and exported, and how it was scored.

    Attributes:
        flow: where each site's cases went.
        ledger: lines of the run's ``ledger.jsonl``, if known.
        parity: ``parity.json`` of the release, if known.
        timing: seconds by step of this validation.
        model_digest: SHA-256 of the model file.
        dataset_digests: site to digest of its dataset.
        phantom: whether the data are made up.
        created: when, UTC.
        bootstrap: how intervals are made.
        traits: vendor, sex, age band and projection of each case, by site and pseudonym.
        release_files: relative paths of what the release holds.
    """

    flow: Sequence[SiteFlow] = ()
    ledger: Sequence[Line] = ()
    parity: Mapping[str, object] | None = None
    timing: Mapping[str, float] | None = None
    model_digest: str = ""
    dataset_digests: Mapping[str, str] = field(default_factory=dict)
    phantom: bool = False
    created: datetime | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    traits: Traits = field(default_factory=dict)
    release_files: Collection[str] = ()


def held_back(patients: Mapping[str, int]) -> tuple[str, ...]:
    """The sites that a report that travels does not show by themselves.

    Those with too few patients; and, so that nobody gets their numbers back by taking the other sites from the pooled
    ones, the next smallest until all that are held back have enough patients together.

    Args:
        patients: number of patients at each site.
    """
    small = [site for site, count in patients.items() if count < LEAST_PATIENTS]
    others = sorted((count, site) for site, count in patients.items() if site not in small)
    while small and others and sum(patients[site] for site in small) < LEAST_PATIENTS:
        small.append(others.pop(0)[1])
    return tuple(sorted(small))


def described(how: Bootstrap) -> dict[str, object]:
    """How intervals are made, for ``metrics.json``."""
    return {
        "level": how.level,
        "method": how.method,
        "resamples": how.resamples,
        "seed": how.seed,
        "unit": "patient, within site",
    }
