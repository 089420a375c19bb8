"""What ``GET /metrics`` says, in Prometheus' text format: FLARE's own metrics, and radfed's campaigns.

FLARE's collectors publish on FLARE's data bus; its own reporter sends them on to StatsD, for which it needs a further
package and a further daemon. Here they are kept as they come, under FLARE's names, until Prometheus asks.
"""

import math
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nvflare.apis.fl_constant import ReservedTopic
from nvflare.fuel.data_event.data_bus import DataBus
from nvflare.metrics.metrics_keys import MetricKeys, MetricTypes

from radfed.errors import InvalidInputError
from radfed.federation.store import LEDGER
from radfed.ledger import Line, NoteLine, SiteLine, final_of, read_ledger, rounds_of

_MOST = 1000
"""Series kept; jobs come and go, and each has labels of its own."""

_NAME = re.compile(r"[^A-Za-z0-9_:]")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True)
class Sample:
    """One value of one series."""

    name: str
    kind: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    help: str = ""

    def line(self) -> str:
        """The sample as a line of Prometheus' text format."""
        labels = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in self.labels)
        return f"{self.name}{{{labels}}} {self.value!r}" if labels else f"{self.name} {self.value!r}"


class FlareMetrics:
    """The last values of what FLARE's collectors in this process publish; counters are added up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}

    def listen(self) -> None:
        """Begin to take what is published."""
        DataBus().subscribe([ReservedTopic.APP_METRICS], self.take)

    def take(self, _topic: str, metrics: Iterable[Mapping[str, object]], _bus: object) -> None:
        """Take one publication; called by FLARE in a thread of its own."""
        for metric in metrics:
            value, tags = metric.get(MetricKeys.value), metric.get(MetricKeys.tags)
            if not isinstance(value, int | float) or not math.isfinite(value):
                continue
            name = _NAME.sub("_", str(metric.get(MetricKeys.metric_name)))
            labels = tuple(sorted((_NAME.sub("_", str(k)), str(v)) for k, v in dict(_mapping(tags)).items()))
            is_counter = metric.get(MetricKeys.type) == MetricTypes.COUNTER
            with self._lock:
                if (name, labels) not in self._series and len(self._series) >= _MOST:
                    continue
                before = self._series.get((name, labels))
                total = value + (before.value if before and is_counter else 0)
                kind = "counter" if is_counter else "gauge"
                self._series[name, labels] = Sample(name, kind, float(total), labels)

    def samples(self) -> list[Sample]:
        """All series, as they are now."""
        with self._lock:
            return list(self._series.values())


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}


def campaign_samples(campaigns: Path) -> list[Sample]:
    """What the ledgers of a server's campaigns say, summed over the sites.

    Args:
        campaigns: folder that holds a folder for each campaign.
    """
    samples: list[Sample] = []
    for path in sorted(campaigns.glob(f"*/{LEDGER}")) if campaigns.is_dir() else ():
        try:
            lines = read_ledger(path)
        except (OSError, InvalidInputError):
            continue
        samples += ledger_samples(path.parent.name, lines)
    return samples


def ledger_samples(campaign: str, lines: list[Line]) -> list[Sample]:
    """Gauges of one campaign, from its ledger."""
    label = (("campaign", campaign),)
    rounds, sites = rounds_of(lines), [line for line in lines if isinstance(line, SiteLine)]
    final = final_of(lines)
    refused = sum(line.answered and not line.accepted and line.reason is not None for line in sites)
    found: list[tuple[str, float, str]] = [
        ("radfed_campaign_rounds", len(rounds), "Rounds with an aggregate"),
        ("radfed_campaign_refused_updates", refused, "Answers that did not enter an aggregate"),
        ("radfed_campaign_received_bytes", sum(line.bytes for line in sites), "Tensors received from sites"),
        (
            "radfed_campaign_notes",
            sum(isinstance(line, NoteLine) for line in lines),
            "Late answers, joins and so on",
        ),
        ("radfed_campaign_ended", int(final is not None), "1 when the campaign is over"),
    ]
    if rounds:
        found += [
            ("radfed_campaign_accepted_sites", rounds[-1].accepted, "Sites in the last aggregate"),
            ("radfed_campaign_round_seconds", rounds[-1].seconds, "Duration of the last round"),
        ]
        measured = [line.metric for line in rounds if line.metric is not None]
        if measured:
            found.append(("radfed_campaign_metric", measured[-1], "Validation metric of the last aggregate scored"))
    samples = [Sample(name, "gauge", float(value), label, text) for name, value, text in found]
    if final is not None:
        outcome = (*label, ("outcome", final.outcome))
        samples.append(Sample("radfed_campaign_outcome", "gauge", 1.0, outcome, "1 for the outcome in the ledger"))
    return samples


def exposition(samples: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format 0.0.4; series of a name stand together."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for name, series in sorted(by_name.items()):
        if series[0].help:
            lines.append(f"# HELP {name} {series[0].help}")
        lines.append(f"# TYPE {name} {series[0].kind}")
        lines += [sample.line() for sample in series]
    return "\n".join(lines) + "\n" if lines else ""
