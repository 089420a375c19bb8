"""The leakage audit of a release that finds masks, from command to report; of few patients it tells nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.layout import Case, Datalist, write_lists
from radfed.dataset.splits import SplitName
from radfed.imaging.nifti import write_image, write_mask
from radfed.imaging.volume import Volume

SIDE = 16
AFFINE = np.diag([1.0, 1.25, 1.5, 1.0])
TRAINED = {"site-a": 10, "site-b": 20}
"""Training cases by the ledger of the release."""


def write_masks(root: Path, site: str, counts: dict[SplitName, int]) -> Path:
    """A prepared dataset: two bright blocks in noise, and their mask."""
    random = np.random.default_rng(TRAINED[site])
    cases: list[Case] = []
    for split, count in counts.items():
        for _ in range(count):
            name = f"{TRAINED[site]:04x}{len(cases):08x}"
            mask = np.zeros((SIDE, SIDE, SIDE), dtype=np.uint8)
            mask[2:7, 4:12, 4:12], mask[9:14, 4:12, 4:12] = 1, 4
            image = mask[None] + random.normal(0, 0.5, (1, *mask.shape))
            image_name, label_name = f"images/{name}.nii.gz", f"labels/{name}.nii.gz"
            for part in ("images", "labels"):
                (root / part).mkdir(parents=True, exist_ok=True)
            write_image(root / image_name, Volume(image.astype(np.float32), AFFINE))
            write_mask(root / label_name, mask, AFFINE)
            cases.append(
                Case(
                    id=f"case-{name}", patient=f"pat-{name}", split=split, image=image_name, label=label_name,
                    digest=f"{len(cases):064x}", size=mask.shape, spacing=(1.0, 1.25, 1.5), source_orientation="RAS",
                )
            )  # fmt: skip
    lists: dict[str, Any] = dict.fromkeys(("training", "validation", "test"), ())
    about = {"name": "two_parts", "description": "d", "site": site, "task": "two_parts", "phantom": True}
    write_lists(root, Datalist(**about, labels={}, channels={}, **lists), tuple(cases), ())
    return root


def test_few_patients_with_masks_are_inconclusive_and_not_told_of(built: Path, tmp_path: Path) -> None:
    told = write_masks(tmp_path / "b", "site-b", {"training": 20, "test": 4})
    untold = write_masks(tmp_path / "a", "site-a", {"training": 10, "test": 2})
    out = tmp_path / "audit"
    command = ["audit", "leakage", str(built), "--dataset", str(told), "--dataset", str(untold), "--out", str(out)]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads((out / "leakage.json").read_text())
    assert found["verdict"] == "inconclusive"
    assert found["phantom"]
    # Two patients are too few for a word on site-a; site-c was not audited at all.
    assert (list(found["sites"]), found["silent"]) == (["site-b"], ["site-a", "site-c"])
    assert found["pooled"] == found["sites"]["site-b"]
    assert (found["pooled"]["members"], found["pooled"]["others"]) == (20, 4)
    assert set(found["pooled"]["attacks"]) == {"loss", "dice", "confidence"}
    page = (out / "leakage.html").read_text()
    assert "Verdict: inconclusive" in page
    assert "case-" not in page + json.dumps(found)
