"""Answers and their worth as sentences, for readers who have not seen the project."""

from collections.abc import Mapping, Sequence

from radfed.task import OperatingPoint, OutcomeTask
from radfed.validation.outcome.comparison import OutcomeRow
from radfed.validation.outcome.estimates import Estimate
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.summary import OutcomeGroup, OutcomeSummary, QuestionScores
from radfed.validation.wording import DASH, listed, number, plural, spoken

RECORDED = (
    "The reference is what the sites recorded; where records are wrong or readers disagree, so will the model and its "
    "scores."
)
NAMES: Mapping[str, str] = {
    "auroc": "AUROC", "accuracy": "accuracy", "brier": "Brier score", "concordance": "concordance",
}  # fmt: skip


def value_and_interval(found: Estimate | None, digits: int = 2, signed: bool = False) -> tuple[str, str]:
    """``0.87`` and ``0.84 to 0.90``; a dash where there is no value."""
    if found is None:
        return DASH, ""
    value = number(found.value, digits)
    if signed and found.value > 0:
        value = f"+{value}"
    if found.low is None or found.high is None:
        return value, ""
    return value, f"{number(found.low, digits)} to {number(found.high, digits)}"


def in_words(found: Estimate | None, digits: int = 2, signed: bool = False) -> str:
    """``0.87 (0.84 to 0.90)``."""
    value, interval = value_and_interval(found, digits, signed)
    return f"{value} ({interval})" if interval else value


def how_good(summary: OutcomeSummary) -> list[str]:
    """What the pooled numbers mean."""
    pooled = summary.pooled
    if pooled.survival is not None:
        pairs, events = pooled.survival.pairs, pooled.survival.events
        seen = "" if events is None else f" {plural(events, 'event')} were seen."
        return [
            f"Of {'the' if pairs is None else pairs} pairs of cases whose order is known, the model gives the higher "
            "hazard to the one with the earlier event in a share of "
            f"{in_words(pooled.survival.concordance)} (concordance; 0.5 is chance).{seen}"
        ]
    sentences = []
    if pooled.auroc is not None:
        over = "" if len(pooled.questions) == 1 else f", the mean over {len(pooled.questions)} questions"
        sentences.append(
            f"Telling apart: AUROC {in_words(pooled.auroc)}{over}. It is how often a positive case has a higher "
            "probability than a negative one; 0.5 is chance."
        )
    if len(pooled.questions) == 1:
        sentences += _at_operating_point(*next(iter(pooled.questions.items())))
    if pooled.accuracy is not None:
        sentences.append(f"Right answers: {in_words(pooled.accuracy)} of all, by the likeliest answer.")
    sentences.append(f"Probabilities: Brier score {in_words(pooled.brier, 3)}, where 0 is ideal and 1 is always wrong.")
    return sentences


def operating(evaluation: OutcomeEvaluation, rule: OperatingPoint) -> str:
    """Where the thresholds come from."""
    points = evaluation.operating
    if not points.thresholds:
        return "The answer is the likeliest class; there is no threshold." if evaluation.kind == "multiclass" else ""
    if points.origin == "release":
        return "The operating point is the one that the release states."
    unset = [spoken(name) for name in points.thresholds if not points.cases.get(name)]
    if points.origin == "none":
        return (
            "No operating point could be fixed: the datasets hold no validation cases of both answers, so a threshold "
            "of 0.5 is used, and sensitivity and specificity may be far from their best balance."
        )
    how = {
        "youden": "the largest sum of sensitivity and specificity",
        "sensitivity": f"the highest threshold with a sensitivity of at least {rule.value:g}",
        "specificity": f"the lowest threshold with a specificity of at least {rule.value:g}",
    }[rule.rule]
    cases = max(points.cases.values())
    text = f"The operating point was fixed on {plural(cases, 'validation case')} of the same sites: {how}."
    if unset:
        text += f" For {listed(unset)} that was not possible, and 0.5 is used."
    if evaluation.split in ("validation", "all"):
        text += " Those cases are among the ones scored here, so sensitivity and specificity are optimistic."
    return text


def spread(sites: Mapping[str, OutcomeGroup]) -> str:
    """The best and the worst site; empty with fewer than two that have a score."""
    found = sorted((area.value, site) for site, group in sites.items() if (area := area_of(group)) is not None)
    if len(found) < 2:
        return ""
    (low, worst), (high, best) = found[0], found[-1]
    name = "concordance" if sites[best].survival is not None else "AUROC"
    return f"Between sites {name} ranges from {number(low)} ({worst}) to {number(high)} ({best})."


def undefined(sites: Mapping[str, OutcomeGroup], travels: bool = False) -> str:
    """Which sites' cases cannot show an area, or too few patients could; empty if all can."""
    without = [site for site, group in sites.items() if area_of(group) is None]
    if not without:
        return ""
    if travels:
        return f"{listed(without)}: too few patients of one answer to say how they are told apart there."
    what = "no pair whose order is known" if sites[without[0]].survival is not None else "cases of one answer only"
    return f"{listed(without)}: {what}, so that nothing can be told apart there."


def area_of(group: OutcomeGroup) -> Estimate | None:
    """AUROC, or of survival the concordance."""
    return group.survival.concordance if group.survival is not None else group.auroc


def headline(summary: OutcomeSummary) -> tuple[str, Estimate | None]:
    """The one number that stands for a model, with its name."""
    return ("concordance" if summary.kind == "survival" else "AUROC"), area_of(summary.pooled)


def verdicts(rows: Sequence[OutcomeRow]) -> list[str]:
    """Whether the model of interest is better or worse than each other model, on all sites' cases."""
    sentences = []
    for row in rows:
        gain = row.difference
        if row.metric not in ("auroc", "concordance") or row.site is not None or gain is None:
            continue
        if gain.low is None or gain.high is None:
            outcome = "too few cases for an interval"
        elif gain.low > 0:
            outcome = "better"
        elif gain.high < 0:
            outcome = "worse"
        else:
            outcome = "no difference that these cases can show"
        tested = "" if row.p is None else f", DeLong's test p {probability(row.p)}"
        sentences.append(
            f"Compared with the model {row.model}: {NAMES[row.metric]} {in_words(gain, 3, signed=True)}{tested}, "
            f"{outcome} ({plural(row.cases, 'case')})."
        )
    return sentences


def probability(p: float | None) -> str:
    """A p-value: ``0.032``, ``< 0.001``."""
    return DASH if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def truth_of(task: OutcomeTask) -> str:
    """What is asked, for table heads."""
    return {"multiclass": "Class", "multilabel": "Finding", "survival": "Event"}[task.outcome.type]


def _at_operating_point(name: str, scores: QuestionScores) -> list[str]:
    answers = scores.answers
    if answers.sensitivity is None or answers.specificity is None:
        return []  # without one of the two the other says nothing
    return [
        f"Of {plural(scores.positives or 0, 'case')} with {spoken(name)}, {answers.true_positives} were called so "
        f"(sensitivity {in_words(answers.sensitivity)}); of {scores.negatives} without, {answers.true_negatives} were "
        f"not (specificity {in_words(answers.specificity)})."
    ]
