"""What the contracts of all kinds of tasks have in common, and how one is read without knowing its kind."""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import Field

from radfed.errors import InvalidInputError
from radfed.settings import Settings
from radfed.task.inputs import Identifier
from radfed.task.measure import Measure

DEFAULT_KIND = "segmentation"


class TaskSpec(Settings):
    """The contract from which preprocessing, training, export, inference and the report are derived.

    One YAML file says what goes in, what comes out and how: it travels with the job, inside the ONNX metadata and in
    the release, and nothing that it says is written down anywhere else. ``TaskSpec.read`` gives the contract of the
    kind that the file names.
    """

    name: Identifier
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "0.1.0"
    kind: str
    description: str
    intended_use: str
    limitations: str = "Not a medical device; for research and validation only."

    @classmethod
    def check(cls, content: dict[str, Any], source: str) -> Self:
        """Check a mapping; asked of ``TaskSpec`` itself, it gives the contract of the kind that the mapping names.

        Raises:
            InvalidInputError: no such kind, or a key or value is not allowed.
        """
        if cls is not TaskSpec:
            return super().check(content, source)
        kind = content.get("kind", DEFAULT_KIND)
        kinds = {name: model for model in _kinds(cls) for name in model.kinds()}
        if kind not in kinds:
            raise InvalidInputError(f"{source}: kind: got {kind!r}; allowed: {', '.join(kinds)}")
        found: Any = kinds[kind].check(content, source)
        return found  # type: ignore[no-any-return] # a subclass

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """The values of ``kind`` that mean this contract."""
        annotation: Any = cls.model_fields["kind"].annotation
        return tuple(annotation.__args__)

    @property
    def finds(self) -> tuple[str, ...]:
        """What the model tells of a case: structures, classes, findings, or a hazard."""
        raise NotImplementedError

    @property
    def measured(self) -> tuple[str, ...]:
        """What the sites report of the final model's test cases: names of values from 0 to 1, one a case."""
        raise NotImplementedError

    @property
    def measure(self) -> Measure:
        """What the sites score a round's model by; it chooses the round that is released."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """How many numbers the network gives: channels of a map of logits, or logits of a case."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the contract."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def _kinds(base: type[TaskSpec]) -> list[type[TaskSpec]]:
    """The contracts that there are; radfed.task imports them all."""
    return [model for model in base.__subclasses__() if "kind" in model.model_fields]
