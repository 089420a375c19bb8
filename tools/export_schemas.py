"""Write the JSON Schemas of the task contract and of a job to docs/reference; run it after changing either."""

import json
from pathlib import Path

from radfed.job import Job
from radfed.task import TaskSpec

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def main() -> None:
    """Write both files."""
    for model, name in ((TaskSpec, "task"), (Job, "job")):
        text = json.dumps(model.model_json_schema(), indent=2) + "\n"
        (REFERENCE / f"{name}.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
