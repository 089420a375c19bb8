"""The model card: ``README.md`` of a release, for people."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from radfed.metrics.pooling import FederatedEvaluation
from radfed.release.facts import TrainingFacts
from radfed.release.parity import ParityReport
from radfed.task import TaskSpec


def model_card(
    task: TaskSpec,
    version: str,
    facts: TrainingFacts,
    parity: ParityReport,
    phantom: bool,
    evaluation: FederatedEvaluation | None = None,
) -> str:
    """The card in Markdown.

    Args:
        task: the contract.
        version: of the release.
        facts: how the model was trained.
        parity: what the gate found.
        phantom: whether the model was trained on made-up data.
        evaluation: the sites' test scores, pooled.
    """
    # Markdown, not HTML: escaping would put entities into people's text.
    environment = Environment(
        loader=PackageLoader("radfed.release"), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    return environment.get_template("model_card.md.j2").render(
        task=task,
        version=version,
        name=f"{task.name}-{version}",
        facts=facts,
        sites=[site for site in facts.sites if site.rounds],
        parity=parity,
        largest=max(window.largest_difference for window in parity.windows),
        worst_case=max(case.disagreement for case in parity.cases),
        farthest=max(case.largest_distance_mm for case in parity.dicom),
        phantom=phantom,
        evaluation=evaluation,
    )
