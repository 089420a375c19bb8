"""Numbers as sentences, for readers who have not seen the project."""

from collections.abc import Mapping, Sequence

from radfed.task import SegmentationTask, TaskSpec
from radfed.validation.comparison import ComparisonRow
from radfed.validation.flow import SiteFlow
from radfed.validation.history import History
from radfed.validation.results import Split
from radfed.validation.summary import GroupSummary, Metric, Statistic, Summary

DASH, MINUS = "\u2013", "\u2212"

DRAWN = "The reference is what readers at the sites drew; where readers disagree with each other, so will the model."

FEW_PATIENTS = 30
"""Below this many patients an interval says little about the next hospital."""

SPLITS: Mapping[str, str] = {
    "test": "test cases, set aside before training",
    "validation": "validation cases, which also chose the released round, so that the scores are optimistic",
    "training": "training cases, so that the scores say nothing about new patients",
    "all": "all cases of the datasets, whatever split they are in",
}


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash where there is none."""
    return DASH if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def digits_of(metric: Metric) -> int:
    """How many decimals a metric is worth: HD95 in mm, the others between 0 and 1."""
    return 1 if metric == "hd95" else 2


def mean_and_interval(found: Statistic | None, metric: Metric, signed: bool = False) -> tuple[str, str]:
    """The mean and, where there are enough patients, its interval: ``0.87``, ``0.84 to 0.90``."""
    if found is None:
        return DASH, ""
    digits = digits_of(metric) + (1 if signed and metric != "hd95" else 0)
    mean = number(found.mean, digits)
    if signed and found.mean > 0:
        mean = f"+{mean}"
    if found.low is None or found.high is None:
        return mean, ""
    return mean, f"{number(found.low, digits)} to {number(found.high, digits)}"


def with_interval(found: Statistic | None, metric: Metric, signed: bool = False) -> str:
    """``0.87 (0.84 to 0.90)``; the mean alone where there are too few patients for an interval."""
    mean, interval = mean_and_interval(found, metric, signed)
    return f"{mean} ({interval})" if interval else mean


def spoken(name: str) -> str:
    """An identifier as people write it."""
    return name.replace("_", " ")


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 site``, ``3 sites``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def on_whom(cases: int, patients: int, sites: Sequence[str], split: Split, history: History | None) -> str:
    """On how many cases and patients, from where, and whether the sites took part in training."""
    text = (
        f"It was checked on {plural(cases, 'case')} of {plural(patients, 'patient')} from "
        f"{plural(len(sites), 'site')} ({listed(sites)}): {SPLITS[split]}."
    )
    outside = [] if history is None else [s for s in sites if s not in {site.site for site in history.sites}]
    if outside:
        text += f" {listed(outside)} took no part in training (external validation)."
    return text


def how_good(summary: Summary, task: SegmentationTask) -> list[str]:
    """What the pooled numbers mean."""
    scores, counts = summary.pooled.mean, summary.pooled.mean.counts
    sentences = []
    if scores.dice is not None:
        sentences.append(
            f"Overlap with the reference: mean Dice {with_interval(scores.dice, 'dice')}, where 1 is identical and 0 "
            "is no overlap."
        )
    if scores.hd95 is not None:
        sentences.append(
            "Distance: over 95% of the surfaces, model and reference lie within "
            f"{with_interval(scores.hd95, 'hd95')} mm of each other (mean HD95)."
        )
    if scores.nsd is not None:
        share = number(100 * scores.nsd.mean, 0)
        sentences.append(f"On average {share}% of the surfaces lie within {task.nsd_tolerance:g} mm (NSD).")
    present = counts.compared + counts.missed
    absent = counts.both_empty + counts.false_positives
    sentences.append(
        f"Of {plural(present, 'structure')} that the reference shows, {_none_or(counts.missed)} missed entirely."
    )
    if absent:
        sentences.append(
            f"Of {plural(absent, 'structure')} that the reference does not show, {_none_or(counts.false_positives)} "
            "marked by the model all the same."
        )
    return sentences


def spread_between_sites(sites: Mapping[str, GroupSummary]) -> str:
    """The best and the worst site, so that a pooled mean hides neither; empty with one site."""
    scored = sorted((group.mean.dice.mean, site) for site, group in sites.items() if group.mean.dice is not None)
    if len(scored) < 2:
        return ""
    (low, worst), (high, best) = scored[0], scored[-1]
    return f"Between sites mean Dice ranges from {number(low)} ({worst}) to {number(high)} ({best})."


def limitations(
    task: TaskSpec, total: int, patients: Mapping[str, int], phantom: bool, flow: Sequence[SiteFlow], reference: str
) -> list[str]:
    """What the numbers do not show.

    Args:
        task: the contract.
        total: patients of all sites.
        patients: those of each site that is shown.
        phantom: whether the data are made up.
        flow: where each site's cases went.
        reference: what the truth is, and what is wrong with it.
    """
    found = [task.limitations]
    if phantom:
        found.insert(0, "The data are phantoms, made by a program: the scores say nothing about patients.")
    if total < FEW_PATIENTS:
        found.append(
            f"{plural(total, 'patient')} are few: the intervals are wide, and rare failures may not have been seen."
        )
    small = [site for site, count in patients.items() if count < 10]
    if small and len(patients) > 1:
        found.append(f"Fewer than 10 patients at {listed(small)}: read the numbers of single sites with care.")
    refused = sum(site.refused for site in flow)
    if refused:
        found.append(
            f"{plural(refused, 'case')} did not pass the data checks and were left out; the model has not been tried "
            "on such cases."
        )
    return [*found, reference]


def verdicts(rows: Sequence[ComparisonRow]) -> list[str]:
    """Whether the model of interest scored higher or lower than each other model, on all sites' cases."""
    sentences = []
    for row in rows:
        gain = row.difference
        if row.metric != "dice" or row.site is not None or gain is None:
            continue
        shown = with_interval(gain, "dice", signed=True)
        if gain.low is None or gain.high is None:
            outcome = "too few patients for an interval"
        elif gain.low > 0:
            outcome = "higher"
        elif gain.high < 0:
            outcome = "lower"
        else:
            outcome = "no difference that these cases can show"
        sentences.append(
            f"Compared with the model {row.model}: Dice {shown}, {outcome} ({plural(gain.cases, 'case')})."
        )
    return sentences


def participation(history: History) -> str:
    """Who took part, and how the run ended."""
    sites = len(history.sites)
    text = f"{plural(sites, 'site')} trained together over {plural(history.rounds, 'round')}; no scan left its site."
    if history.best_round is not None:
        text += f" The released model is that of round {history.best_round}."
    final = history.final
    if final is None:
        return f"{text} The ledger has no last line: the run was not finished."
    if final.outcome == "COMPLETED":
        return f"{text} Every site was in every round."
    missing = f" {listed(final.missing)} missed rounds." if final.missing else ""
    lost = f" {number(100 * final.cases_lost, 0)}% of the cases are missing from the model." if final.cases_lost else ""
    return f"{text} The run ended as {final.outcome}.{missing}{lost}"


def _none_or(count: int) -> str:
    return "none was" if count == 0 else f"{count} {'was' if count == 1 else 'were'}"
