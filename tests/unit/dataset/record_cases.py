"""A small multimodal task, its table, pictures and mapping."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radfed.dataset.records_mapping import TableMapping
from radfed.task import OutcomeTask

COLUMNS = ("image_id", "patient", "age", "sex", "crp", "icu", "site")
COVARIATES = [
    {"type": "numeric", "name": "age", "unit": "a", "lower": 0, "upper": 120, "required": True},
    {"type": "categorical", "name": "sex", "values": ["female", "male"]},
    {"type": "numeric", "name": "crp", "unit": "mg/L", "lower": 0, "upper": 500},
]
MAPPING: dict[str, Any] = {
    "case": "image_id",
    "patient": "patient",
    "image": {"column": "image_id", "pattern": "png/{}.png"},
    "covariates": {
        "age": {"column": "age"},
        "sex": {"column": "sex", "values": {"f": "female", "m": "male"}},
        "crp": {"column": "crp", "values": {"-inf": 0}},
    },
    "outcome": {"column": "icu", "values": {0: "no_icu", 1: "icu"}},
}
PICTURE = {"channels": [{"name": "chest"}], "size": [16, 16]}


def outcome_task(**changes: object) -> OutcomeTask:
    content: dict[str, object] = {
        "name": "icu",
        "kind": "multimodal",
        "description": "test",
        "intended_use": "test",
        "image": PICTURE,
        "covariates": COVARIATES,
        "outcome": {"type": "multiclass", "classes": ["no_icu", "icu"]},
        "network": {"encoder": {"name": "ResNet"}},
    }
    return OutcomeTask.check({key: value for key, value in (content | changes).items() if value is not None}, "test")


def tabular_task(**changes: object) -> OutcomeTask:
    return outcome_task(**{"kind": "tabular", "image": None, "network": {}, **changes})


def mapping(**changes: object) -> TableMapping:
    content = {key: value for key, value in (MAPPING | changes).items() if value is not None}
    return TableMapping.check(content, "mapping.yaml")


def rows(count: int = 12) -> list[dict[str, str]]:
    return [
        {
            "image_id": f"im{n:02d}",
            "patient": f"Miller-{n // 2}",
            "age": str(40 + n),
            "sex": "fm"[n % 2],
            "crp": "" if n == 3 else f"{n}.5",
            "icu": str(n % 2),
            "site": "ab"[n % 2],
        }
        for n in range(count)
    ]


def write_table(path: Path, content: Iterable[Mapping[str, str]], columns: tuple[str, ...] = COLUMNS) -> Path:
    lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in content)]
    path.write_text("\n".join(lines) + "\n")
    return path


def picture(seed: int, dtype: type[np.unsignedinteger[Any]] = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, size=(14, 10)).astype(dtype)


def write_source(folder: Path, content: Iterable[Mapping[str, str]]) -> Path:
    """The table and a picture for each of its rows."""
    (folder / "png").mkdir(parents=True)
    content = list(content)
    write_table(folder / "table.csv", content)
    for seed, row in enumerate(content):
        Image.fromarray(picture(seed)).save(folder / "png" / f"{row['image_id']}.png")
    return folder
