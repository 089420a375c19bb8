"""The way of a site's cases into the evaluation: found, quarantined and why, training, validation, test."""

import json
from collections import Counter
from collections.abc import Sequence

from radfed.dataset.layout import QUARANTINE, Dataset
from radfed.errors import InvalidInputError
from radfed.metrics.small_cells import enough
from radfed.settings import Settings


class SiteFlow(Settings):
    """How many cases went where at one site."""

    site: str
    found: int
    quarantined: dict[str, int]
    training: int
    validation: int
    test: int

    @property
    def refused(self) -> int:
        """How many were quarantined, for whatever reason."""
        return sum(self.quarantined.values())


def travelling_flow(flow: Sequence[SiteFlow], hidden: Sequence[str]) -> tuple[SiteFlow, ...]:
    """The sites whose every count may travel: a line with a gap would tell it by what is missing.

    Args:
        flow: of all sites.
        hidden: the sites that are not shown by themselves.
    """
    return tuple(
        site
        for site in flow
        if site.site not in hidden
        and all(enough(n) for n in (*site.quarantined.values(), site.training, site.validation, site.test))
    )


def flow_of(dataset: Dataset) -> SiteFlow:
    """Count the cases of a dataset, and those in its quarantine by reason.

    Raises:
        InvalidInputError: ``quarantine.jsonl`` is broken.
    """
    path = dataset.root / QUARANTINE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    try:
        reasons = Counter(str(json.loads(line)["reason"]) for line in lines if line.strip())
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{dataset.site}: {QUARANTINE} is broken ({error}); ingest the dataset again"
        ) from error
    return SiteFlow(
        site=dataset.site,
        found=len(dataset.cases) + reasons.total(),
        quarantined=dict(sorted(reasons.items())),
        training=len(dataset.split("training")),
        validation=len(dataset.split("validation")),
        test=len(dataset.split("test")),
    )
