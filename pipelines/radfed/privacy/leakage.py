"""The leakage audit: whether a model gives away whose scans it was trained on (membership inference).

``site_leakage`` is done at a site, on its data; ``pool_leakage`` wherever the sites' answers come together. Attacks
that compare a number with a threshold: Yeom et al. 2018 (loss); for segmentation Chobola et al. 2023 (loss, Dice).
"""

from collections.abc import Mapping

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.privacy.leakage_policy import LeakagePolicy, Verdict
from radfed.privacy.leakage_report import Leakage, pool_leakage
from radfed.privacy.leakage_scores import Model, Progress, patient_scores
from radfed.privacy.leakage_sums import SiteLeakage, sums_of

__all__ = ["Leakage", "LeakagePolicy", "Model", "SiteLeakage", "Verdict", "pool_leakage", "site_leakage"]


def site_leakage(
    model: Model,
    dataset: Dataset,
    policy: LeakagePolicy | None = None,
    on_progress: Progress | None = None,
    more: Mapping[str, Mapping[str, float]] | None = None,
) -> SiteLeakage:
    """Attack a model with a site's own patients; the result may leave the site.

    Args:
        model: that was trained on this dataset's training split, among others.
        dataset: as it was when the model was trained.
        policy: what is measured and allowed; None takes the defaults.
        on_progress: called as cases are done.
        more: scores of further attacks, one a patient, higher for those who look trained on.

    Raises:
        InvalidInputError: the dataset was prepared for another task, or a patient stands in two splits.
        DataError: a case cannot be used with the task.
        RadfedError: the model gives no finite number for a case.
    """
    policy, task = policy or LeakagePolicy(), model.task
    if dataset.task and dataset.task != task.name:
        raise InvalidInputError(
            f"{dataset.site}: the dataset was prepared for the task {dataset.task!r}, the model is for {task.name!r}; "
            "give the dataset that it was trained on"
        )
    trained, held_out = dataset.split("training"), [case for s in policy.non_members for case in dataset.split(s)]
    members, others = {case.patient for case in trained}, {case.patient for case in held_out}
    if members & others:
        raise InvalidInputError(
            f"{dataset.site}: {len(members & others)} patient(s) stand in the training split and in another one, so "
            "nobody can be told from them; ingest the data again"
        )
    scores = {**patient_scores(model, dataset, [*trained, *held_out], on_progress), **(more or {})}
    inside, outside, attacks = sums_of(scores, members, others, policy.false_positive_rate)
    return SiteLeakage(
        model=model.weights_digest, task=task.name, task_digest=task.digest, phantom=dataset.phantom, policy=policy,
        members=inside, others=outside, attacks=attacks,
    )  # fmt: skip
