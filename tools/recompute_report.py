"""Every number of a segmentation report, again: from masks and references, with none of radfed's code.

    radfed predict RELEASE DATASET/images --out PREDICTIONS        # for each dataset, into one folder
    python tools/recompute_report.py VALIDATION/metrics.json --predictions PREDICTIONS DATASET...

The datasets are given in the order in which ``radfed validate`` got them: the draws of the bootstrap follow it. Prints
each number with its difference, then what could not be recomputed, and exits 1 if a difference is beyond the tolerance.
Distances are taken from distance transforms and not from trees, and quantiles, intervals and groups are written anew.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from scipy import ndimage, stats

Bounds = tuple[float | None, float | None]
METRICS = ("dice", "hd95", "nsd")
LEAST = 5
AGES = ((18, "under 18"), (40, "18 to 39"), (60, "40 to 59"), (75, "60 to 74"), (math.inf, "75 and over"))
MAKERS = (
    "Agfa", "Canon", "Carestream", "Fujifilm", "Hitachi", "Hologic", "Konica Minolta", "Neusoft", "Philips",
    "Samsung", "Siemens", "United Imaging",
)  # fmt: skip
ALIASES = {
    "toshiba": "Canon", "kodak": "Carestream", "fuji": "Fujifilm", "general electric": "GE", "ge ": "GE",
    "konica": "Konica Minolta", "uih": "United Imaging",
}  # fmt: skip
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
VIEWS = {view.lower(): view for view in ("PA", "AP", "LL", "RL", "LATERAL", "CC", "MLO", "ML", "LM")} | {
    "lat": "LATERAL"
}
COLUMNS = {
    "sex": ("sex", "patient_sex", "gender"), "age": ("age", "patient_age", "age_years"),
    "projection": ("projection", "view", "view_position"),
}  # fmt: skip
HEADERS = {"sex": "sex", "age": "age_band", "projection": "projection"}


@dataclass(frozen=True)
class Scored:
    """One case: its line of ``cases.jsonl``, and Dice, HD95, NSD, volumes and kind of each structure."""

    site: str
    line: Mapping[str, Any]
    labels: Mapping[str, Mapping[str, Any]]

    @property
    def patient(self) -> tuple[str, str]:
        """Site and pseudonym."""
        return self.site, self.line["patient"]

    def value(self, metric: str, label: str | None = None) -> float | None:
        """A structure's value, or the mean over those that have one."""
        found = [self.labels[label][metric]] if label else [one[metric] for one in self.labels.values()]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None


def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Foreground voxels with a face to background or to the edge of the array."""
    inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1), border_value=0)
    return np.asarray(mask & ~inner, dtype=np.bool_)


def score_label(
    mask: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float], tolerance: float
) -> dict[str, Any]:
    """Dice, HD95 (mm) and NSD as they enter means, what the masks hold, and both volumes (ml)."""
    ml = float(np.prod(spacing)) / 1000
    found: dict[str, Any] = {
        "prediction_ml": np.count_nonzero(mask) * ml, "reference_ml": np.count_nonzero(reference) * ml,
        "dice": 0.0, "nsd": 0.0, "hd95": None,
    }  # fmt: skip
    if not mask.any() and not reference.any():
        return found | {"kind": "both_empty", "dice": None, "nsd": None}
    if not mask.any() or not reference.any():
        return found | {"kind": "missed" if reference.any() else "false_positives"}
    found["dice"] = 2 * np.count_nonzero(mask & reference) / (np.count_nonzero(mask) + np.count_nonzero(reference))
    flat = tuple(axis for axis, side in enumerate(mask.shape) if side == 1)
    edges = [surface(np.squeeze(one, flat)) for one in (mask, reference)]
    sampling = [step for axis, step in enumerate(spacing) if axis not in flat]
    away = [ndimage.distance_transform_edt(~edge, sampling=sampling).astype(np.float32) for edge in edges]
    there, back = away[1][edges[0]], away[0][edges[1]]
    both = np.concatenate([there, back])
    return found | {
        "kind": "compared",
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "nsd": float(np.mean(both <= np.float32(tolerance))),
    }


def read_cases(datasets: Sequence[Path], split: str) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """Folder, ``dataset.json`` and line of each case, by digest within a dataset."""
    for root in datasets:
        listed = json.loads((root / "dataset.json").read_text())
        lines = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
        for line in sorted(lines, key=lambda one: str(one["digest"])):
            if split in ("all", line["split"]):
                yield root, listed, line


def score_all(datasets: Sequence[Path], predictions: Path, split: str, tolerance: float) -> list[Scored]:
    """Score every mask against its reference."""
    found = []
    for root, listed, line in read_cases(datasets, split):
        reference: Any = nibabel.load(root / line["label"])
        mask: Any = nibabel.load(predictions / Path(line["image"]).name)
        if mask.shape != reference.shape or not np.allclose(mask.affine, reference.affine, atol=1e-4):
            raise SystemExit(f"{line['id']}: mask and reference lie on different grids")
        values = [np.asanyarray(one.dataobj) for one in (mask, reference)]
        spacing = voxel_sizes(reference.affine)
        labels = {
            name: score_label(values[0] == int(value), values[1] == int(value), spacing, tolerance)
            for value, name in listed["labels"].items()
            if int(value) > 0
        }
        found.append(Scored(listed["site"], line, labels))
    return found


def strata(cases: Sequence[Scored]) -> list[list[tuple[str, str]]]:
    """The patients of each site, in the order of their first case."""
    sites: dict[str, list[tuple[str, str]]] = {}
    for patient in dict.fromkeys(case.patient for case in cases):
        sites.setdefault(patient[0], []).append(patient)
    return list(sites.values())


def bca(estimate: float, draws: NDArray[np.float64], without: Sequence[NDArray[np.float64]], level: float) -> Bounds:
    """Bias-corrected, accelerated interval of several samples (Efron and Tibshirani 1993, section 14.3)."""
    near = 1e-12 * max(1.0, abs(estimate))
    share = np.mean((draws < estimate - near) + 0.5 * (np.abs(draws - estimate) <= near))
    bias = stats.norm.ppf(np.clip(share, 0.5 / len(draws), 1 - 0.5 / len(draws)))
    pulls = [(len(one) - 1) * (one.mean() - one) for one in without]
    third = sum(float((pull**3).sum()) / len(pull) ** 3 for pull in pulls)
    second = sum(float((pull**2).sum()) / len(pull) ** 2 for pull in pulls)
    skew = third / (6 * second**1.5) if second > 0 else 0.0
    tails = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(draws, stats.norm.cdf(bias + tails / (1 - skew * tails)))
    return float(low), float(high)


def mean_interval(cases: Sequence[Scored], values: Sequence[float], how: Mapping[str, Any]) -> Bounds:
    """Interval of the mean: patients drawn within sites."""
    sums: dict[tuple[str, str], NDArray[np.float64]] = {}
    for case, value in zip(cases, values, strict=True):
        sums[case.patient] = sums.get(case.patient, np.zeros(2)) + np.array([value, 1.0])
    groups = [np.array([sums[patient] for patient in stratum]) for stratum in strata(cases)]
    random, totals = np.random.default_rng(how["seed"]), np.zeros((how["resamples"], 2))
    for group in groups:
        totals += group[random.integers(0, len(group), (how["resamples"], len(group)))].sum(axis=1)
    whole = sum(group.sum(axis=0) for group in groups)
    without = [(whole - group)[:, 0] / (whole - group)[:, 1] for group in groups if len(group) > 1]
    return bca(whole[0] / whole[1], totals[:, 0] / totals[:, 1], without, how["level"]) if without else (None, None)


def statistic(cases: Sequence[Scored], values: Sequence[float | None], how: Mapping[str, Any]) -> dict[str, Any] | None:
    """Mean, interval, median and numbers of one value a case."""
    pairs = [(case, value) for case, value in zip(cases, values, strict=True) if value is not None]
    if not pairs:
        return None
    owners, known = [case for case, _ in pairs], [value for _, value in pairs]
    patients = len({case.patient for case in owners})
    low, high = mean_interval(owners, known, how) if patients >= LEAST else (None, None)
    return {
        "mean": float(np.mean(known)), "low": low, "high": high, "median": float(np.median(known)),
        "cases": len(known), "patients": patients,
    }  # fmt: skip


def scores(cases: Sequence[Scored], label: str | None, how: Mapping[str, Any]) -> dict[str, Any]:
    """All metrics of a structure, or of the means over structures, with the counts."""
    kinds = [one["kind"] for case in cases for name, one in case.labels.items() if label in (None, name)]
    counted = {kind: kinds.count(kind) for kind in ("compared", "both_empty", "false_positives", "missed")}
    found = {metric: statistic(cases, [case.value(metric, label) for case in cases], how) for metric in METRICS}
    return found | {"counts": counted}


def group(cases: Sequence[Scored], how: Mapping[str, Any]) -> dict[str, Any]:
    """A site, or all."""
    return {
        "cases": len(cases), "patients": len({case.patient for case in cases}), "mean": scores(cases, None, how),
        "labels": {name: scores(cases, name, how) for name in cases[0].labels},
    }  # fmt: skip


def volumes(cases: Sequence[Scored], label: str, how: Mapping[str, Any]) -> dict[str, Any]:
    """Bland and Altman's mean difference and limits (ml) with their intervals."""
    chosen = [case for case in cases if case.labels[label]["kind"] != "both_empty"]
    both = np.array([[case.labels[label][f"{one}_ml"] for one in ("prediction", "reference")] for case in chosen])
    gap, patients = both[:, 0] - both[:, 1], len({case.patient for case in chosen})
    bias, spread, count = gap.mean(), gap.std(ddof=1) if len(gap) > 2 else None, len(gap)
    found: dict[str, Any] = {
        "bias_ml": bias, "mean_reference_ml": both[:, 1].mean(), "cases": count, "patients": patients,
        "deviation_ml": spread,
    }  # fmt: skip
    for name, reach in (("bias", 0.0), ("low", -1.96), ("high", 1.96)):
        found[f"{name}_ml"] = bias if reach == 0 else None if spread is None else bias + reach * spread
        interval: Any = None
        if spread is not None and patients >= LEAST and patients == count:
            error = spread * math.sqrt(1 / count + reach**2 / (2 * (count - 1)))
            interval = stats.t.interval(how["level"], count - 1, bias + reach * spread, error)
        elif spread is not None and patients >= LEAST:
            interval = limit_interval(chosen, gap, reach, how)
        found[f"{name}_interval_ml"] = interval
    return found


def limit_interval(cases: Sequence[Scored], gap: NDArray[np.float64], reach: float, how: Mapping[str, Any]) -> Bounds:
    """Interval of a limit where patients have several cases: drawn by patient within site."""
    order = list(dict.fromkeys(case.patient for case in cases))
    owner = np.array([order.index(case.patient) for case in cases])
    random, drawn = np.random.default_rng(how["seed"]), np.zeros((how["resamples"], len(order)))
    places = [[order.index(patient) for patient in stratum] for stratum in strata(cases)]
    for place in places:
        drawn[:, place] = random.multinomial(len(place), np.full(len(place), 1 / len(place)), how["resamples"])

    def limits(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights.sum(axis=1)
        mean = weights @ gap / total
        off = (weights * (gap[None] - mean[:, None]) ** 2).sum(axis=1)
        return np.asarray(mean + reach * np.sqrt(off / (total - 1)))

    without = [limits(1.0 * (owner[None] != np.array(place)[:, None])) for place in places if len(place) > 1]
    return bca(float(limits(np.ones((1, len(gap))))[0]), limits(drawn[:, owner]), without, how["level"])


def trait(case: Scored, name: str) -> str:
    """The group of a case: by what the site's table says, else by what DICOM headers said."""
    if name == "site":
        return case.site
    if name == "vendor":
        text = str((case.line["scanner"] or {}).get("manufacturer", "")).strip().lower()
        known = {maker.lower(): maker for maker in MAKERS} | ALIASES
        return next(
            (known[start] for start in known if f"{text} ".startswith(start)), "other" if text else "not recorded"
        )
    table = case.line["covariates"]
    said = next((table[column] for column in COLUMNS[name] if column in table), None)
    if name == "age" and said is not None:
        return "other" if isinstance(said, str) else next(band for below, band in AGES if said < below)
    said = case.line.get(HEADERS[name]) if said is None else said
    if said is None or name == "age":
        return str(said or "not recorded")
    return (SEXES if name == "sex" else VIEWS).get(str(said).strip().lower(), "other")


def subgroups(cases: Sequence[Scored], told: Mapping[str, Any], how: Mapping[str, Any]) -> dict[str, Any]:
    """The groups that the report tells of, in its order, which is checked to be worst first."""
    tables = []
    for table in told["traits"]:
        rows = []
        for row in table["groups"]:
            chosen = [case for case in cases if trait(case, table["trait"]) == row["group"]]
            found = scores(chosen, None, how)
            counted = {
                kind: None if row[kind] is None else found["counts"][kind] for kind in ("missed", "false_positives")
            }
            sizes = {"cases": len(chosen), "patients": len({case.patient for case in chosen})}
            rows.append(sizes | {metric: found[metric] for metric in METRICS} | counted)
        means = [row["dice"]["mean"] for row in rows if row["dice"]]
        if means != sorted(means):
            raise SystemExit(f"subgroups by {table['trait']} are not worst first")
        groups = {trait(case, table["trait"]) for case in cases}
        tables.append({"groups": rows, "not_shown": len(groups) - len(rows)})
    return {"traits": tables}


def comparison(
    models: Mapping[str, Sequence[Scored]], rows: Sequence[Any], own: str, how: Mapping[str, Any]
) -> list[Any]:
    """The rows of the models whose masks are there."""
    found: list[Any] = []
    for row in rows:
        here = [case for case in models.get(row["model"], ()) if row["site"] in (None, case.site)]
        mine = {case.line["digest"]: case for case in models[own]}
        values = [case.value(row["metric"]) for case in here]
        gains = [
            None
            if value is None or (other := mine[case.line["digest"]].value(row["metric"])) is None
            else other - value
            for case, value in zip(here, values, strict=True)
        ]
        difference = statistic(here, gains, how) if row["difference"] is not None else None
        found.append({"score": statistic(here, values, how), "difference": difference} if here else {})
    return found


def flow(datasets: Sequence[Path]) -> list[dict[str, Any]]:
    """Where the cases of each dataset went."""
    found = []
    for root in datasets:
        splits = [json.loads(line)["split"] for line in (root / "cases.jsonl").read_text().splitlines()]
        reasons = [json.loads(line)["reason"] for line in (root / "quarantine.jsonl").read_text().splitlines()]
        counted = {name: splits.count(name) for name in ("training", "validation", "test")}
        quarantined = {reason: reasons.count(reason) for reason in set(reasons)}
        found.append({"found": len(splits) + len(reasons), "quarantined": quarantined} | counted)
    return found


def digest(root: Path) -> str:
    """Of a dataset's content and splits."""
    lines = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    text = "\n".join(sorted(f"{one['digest']} {one['label_digest'] or '-'} {one['split']}" for one in lines))
    return hashlib.sha256(text.encode()).hexdigest()


def leaves(content: object, path: str = "") -> Iterator[tuple[str, float | None]]:
    """Every number, and every null, with its place."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list | tuple | np.ndarray):
        for place, value in enumerate(content):
            yield from leaves(value, f"{path}[{place}]")
    elif content is None or (isinstance(content, int | float | np.number) and not isinstance(content, bool)):
        yield path, None if content is None else float(content)


def main() -> int:
    """Recompute, print, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--predictions", type=Path, required=True, help="masks of 'radfed predict'")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=FOLDER", help="masks of another model")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of the larger of 1 and the number")
    parser.add_argument("--quiet", action="store_true", help="print only what differs, and the end")
    given = parser.parse_args()
    told = json.loads(given.metrics.read_text())
    how, nsd = told["intervals"], float(told["nsd_tolerance_mm"])
    if how["method"] != "bca":
        raise SystemExit("only BCa intervals are recomputed")
    folders = {told["model"]: given.predictions} | {
        name: Path(folder) for name, _, folder in (one.partition("=") for one in given.other)
    }
    models = {name: score_all(given.datasets, folder, told["split"], nsd) for name, folder in folders.items()}
    cases = models[told["model"]]
    again = {
        "pooled": group(cases, how),
        "sites": {site: group([case for case in cases if case.site == site], how) for site in told["sites"]},
        "volumes_ml": {name: volumes(cases, name, how) for name in told["volumes_ml"]},
        "subgroups": subgroups(cases, told["subgroups"], how),
        "comparison": comparison(models, told["comparison"], told["model"], how),
        "flow": flow(given.datasets),
    }
    digests = {json.loads((root / "dataset.json").read_text())["site"]: digest(root) for root in given.datasets}
    if digests != told["dataset_digests"]:
        raise SystemExit("the datasets are not those that were validated")
    return judge(dict(leaves({name: told[name] for name in again})), dict(leaves(again)), given.tolerance, given.quiet)


def judge(told: Mapping[str, float | None], again: Mapping[str, float | None], tolerance: float, quiet: bool) -> int:
    """Print each number with its difference; 1 if one is beyond the tolerance, or none could be compared."""
    largest, wrong, compared = (0.0, "-"), [], [path for path in told if path in again]
    for path in compared:
        one, other = told[path], again[path]
        gap = math.inf if (one is None) != (other is None) else 0.0
        if one is not None and other is not None:
            gap = abs(one - other)
            largest = max(largest, (gap, path))
        bad = gap > tolerance * max(1.0, abs(one or 0.0))
        wrong += [path] if bad else []
        if bad or not quiet:
            print(f"{'DIFFERS' if bad else 'equal':8}{path}: {one} {other} {gap:.2e}")
    missing = [path for path, value in told.items() if path not in again and value is not None]
    for path in missing:
        print(f"not recomputed: {path}")
    print(f"{len(compared)} numbers recomputed, {len(wrong)} beyond {tolerance:g}, {len(missing)} not recomputed")
    print(f"largest difference {largest[0]:.2e} at {largest[1]}")
    return 1 if wrong or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
