"""When a model is said to give away whom it was trained on: the limits of the leakage audit's gate."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from radfed.settings import Settings

Share = Annotated[float, Field(gt=0, lt=1)]
Verdict = Literal["pass", "fail", "inconclusive"]

RULE = (
    "The gate fails if, for all sites together or for one of them, the interval of an attack's AUC lies above "
    "auc_limit, or that of its true-positive rate above tpr_limit with more hits than chance gives (a probability of "
    "(1 - level) / 2, shared among all places and attacks). It passes only if "
    "every site was audited, with least_patients of either kind in all, and the interval of each attack's pooled AUC "
    "ends at or below auc_tolerated. Everything else is inconclusive, which is no pass."
)


class LeakagePolicy(Settings):
    """What is measured, and what the gate allows."""

    non_members: tuple[Literal["test", "validation"], ...] = Field(
        default=("test", "validation"),
        min_length=1,
        description="Splits whose patients count as not trained on. The best round was chosen on the validation "
        "split, so its patients may look a little like members: that hides leakage, it invents none",
    )
    false_positive_rate: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.01, description="Of the threshold at which true positives are counted"
    )
    auc_limit: Share = Field(default=0.6, description="Fails if an attack's interval lies above")
    auc_tolerated: Share = Field(default=0.7, description="Passes only if no attack's pooled interval reaches above")
    tpr_limit: Share = Field(default=0.1, description="Fails if the interval of a true-positive rate lies above")
    least_patients: Annotated[int, Field(ge=3)] = Field(
        default=10, description="Members, and others, of all sites, below which nothing passes"
    )
    level: Share = Field(default=0.95, description="Of all intervals")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.auc_tolerated < self.auc_limit:
            raise ValueError(
                f"auc_tolerated must not be below auc_limit, got {self.auc_tolerated} and {self.auc_limit}"
            )
        if len(set(self.non_members)) != len(self.non_members):
            raise ValueError(f"each split of non_members must be there once, got {', '.join(self.non_members)}")
        return self
