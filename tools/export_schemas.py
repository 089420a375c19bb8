"""Write the JSON Schemas of the task contract and of a job to docs/reference; run it after changing either."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from radfed.job import Job
from radfed.task import AnyTask

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def main() -> None:
    """Write both files."""
    contracts: dict[str, TypeAdapter[Any]] = {"task": TypeAdapter(AnyTask), "job": TypeAdapter(Job)}
    for name, contract in contracts.items():
        text = json.dumps(contract.json_schema(), indent=2) + "\n"
        (REFERENCE / f"{name}.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
