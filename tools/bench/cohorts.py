"""Four public cohorts with sites: federated beside pooled and each site alone, all through radfed's own commands.

    RADFED_DATA=DIR python tools/bench/cohorts.py heart --out bench-heart
    RADFED_DATA=DIR python tools/bench/cohorts.py pneumonia --out bench-pneumonia --seeds 0 1 2
    RADFED_DATA=DIR python tools/bench/cohorts.py ventricle --out bench-ventricle --seeds 0
    RADFED_DATA=DIR python tools/bench/cohorts.py covid --out bench-covid

A seed is that of the splits, of the sites where they are drawn, and of the training. Each is: ``radfed ingest`` at
each site, ``radfed job simulate --baselines``, ``radfed release build`` and ``verify``, ``radfed validate --compare``
on the test cases of all sites. What was done before is not done again. ``covid`` has five folds of patients in place of
seeds, and trains the shipped task with both inputs, without the image, and without the records.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from radfed.job import shipped_jobs
from radfed.validation.outcome.comparison import OutcomeRow, compare_outcomes
from radfed.validation.outcome.results import OperatingPoints, OutcomeCase, OutcomeEvaluation
from radfed.workflow.cohorts import find_data

JOBS = shipped_jobs()
FOLDS = 5
PNEUMONIA_SITES = 3
PNEUMONIA_SKEW = 0.3
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
GROUPS = {"n": "N", "hyp": "HYP", "hf-i": "HF-I", "hf-ni": "HF-NI"}


@dataclass(frozen=True)
class Site:
    """What ``radfed ingest`` is given at a site."""

    name: str
    source: Path
    table: Path | None
    mapping: Path
    where: tuple[str, ...] = ()
    split_seed: int = 0


def radfed(*arguments: str | Path | int) -> str:
    """Run a command; what it printed."""
    command = [sys.executable, "-m", "radfed.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"radfed {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def prepare(sites: Sequence[Site], job: Path, out: Path) -> dict[str, Path]:
    """The dataset of each site."""
    for site in sites:
        if not (out / site.name).is_dir():
            where = [part for pair in site.where for part in ("--where", pair)]
            table: list[str | Path] = ["--table", site.table] if site.table else []
            radfed(
                "ingest", site.source, "--task", job / "task.yaml", "--mapping", site.mapping, *table, *where,
                "--site-name", site.name, "--split-seed", site.split_seed, "--out", out / site.name, "--json",
            )  # fmt: skip
    return {site.name: out / site.name for site in sites}


def run(job: Path, datasets: Mapping[str, Path], out: Path, seed: int, baselines: bool = True) -> dict[str, Any]:
    """Federate, build, verify, validate; what ``metrics.json`` holds."""
    named = [part for name, folder in datasets.items() for part in ("--dataset", f"{name}={folder}")]
    comparison = out / "run" / "comparison.json"
    if not (comparison if baselines else out / "run" / "best.safetensors").is_file():
        beside = ["--baselines"] if baselines else []
        radfed("job", "simulate", job, *named, "--seed", seed, *beside, "--out", out / "run", "--json")
    if not (out / "validation" / "metrics.json").is_file():
        folders = [part for folder in datasets.values() for part in ("--dataset", folder)]
        radfed("release", "build", out / "run", *folders, "--out", out / "releases", "--json")
        [release] = (out / "releases").iterdir()
        radfed("release", "verify", release, "--json")
        compare: list[str | Path] = ["--compare", comparison] if baselines else []
        radfed("validate", release, *datasets.values(), "--out", out / "validation", *compare, "--cases", "--json")
    found: dict[str, Any] = json.loads((out / "validation" / "metrics.json").read_text())
    return found


def job_with_task(source: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a job whose task was changed; it keeps its name, by which a dataset knows what it was made for."""
    out.mkdir(parents=True, exist_ok=True)
    task = yaml.safe_load((source / "task.yaml").read_text())
    change(task)
    (out / "task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    shutil.copy(source / "job.yaml", out)
    return out


# What the sites are.


def _table(out: Path, rows: Sequence[Mapping[str, Any]], job: str) -> Path:
    """Write a table whose column ``split`` decides the splits; the job's mapping, so changed."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    mapping = yaml.safe_load((JOBS[job] / "mapping.yaml").read_text()) | {"split": {"column": "split"}}
    (out / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    return out / "mapping.yaml"


def heart(_out: Path, seed: int) -> list[Site]:
    """The four hospitals."""
    table = find_data("uci_heart_4hospitals") / "heart_disease.csv"
    mapping = JOBS["heart_disease_tabular"] / "mapping.yaml"
    return [Site(name, table, None, mapping, (f"site={name}",), seed) for name in HOSPITALS]


def ventricle(out: Path, seed: int) -> list[Site]:
    """Sites by pathology group; of each group two patients are for the test, one is for choosing the round."""
    source = find_data("sunnybrook_lv")
    with (source / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    random = np.random.default_rng(seed)
    parts: dict[str, str] = {}
    for group in GROUPS.values():
        patients = random.permutation(sorted({row["patient"] for row in rows if row["pathology_group"] == group}))
        parts |= dict.fromkeys(patients[3:], "training") | {patients[2]: "validation"}
        parts |= dict.fromkeys(patients[:2], "test")
    mapping = _table(out, [row | {"split": parts[row["patient"]]} for row in rows], "lv_segmentation_2d")
    return [
        Site(name, source, out / "table.csv", mapping, (f"pathology_group={group}",)) for name, group in GROUPS.items()
    ]


def pneumonia(out: Path, seed: int) -> list[Site]:
    """Three sites whose shares of each class are drawn from Dirichlet(0.3).

    MedMNIST's training part is for training and, one case in ten, for choosing the round; its validation part is what
    the models are scored on, and lies at the sites evenly.
    """
    source = find_data("pneumoniamnist") / "pneumoniamnist.npz"
    random = np.random.default_rng(seed)
    rows = []
    with np.load(source) as file:
        for part in ("train", "val"):
            labels = file[f"{part}_labels"][:, 0]
            site, split = _skewed(labels, random) if part == "train" else _evenly(len(labels), random)
            rows += [
                {"id": f"{part}-{i}", "split": split[i], "label": labels[i], "site": f"s{site[i]}"}
                for i in range(len(labels))
            ]
    mapping = _table(out, rows, "pneumonia_classification")
    names = [f"s{number}" for number in range(PNEUMONIA_SITES)]
    return [Site(name, source, out / "table.csv", mapping, (f"site={name}",)) for name in names]


def _skewed(labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    site = np.empty(len(labels), dtype=int)
    for value in np.unique(labels):
        share = random.dirichlet([PNEUMONIA_SKEW] * PNEUMONIA_SITES)
        site[labels == value] = random.choice(PNEUMONIA_SITES, size=int((labels == value).sum()), p=share)
    split = ["validation" if number < 1 else "training" for number in random.integers(0, 10, size=len(labels))]
    return site, split


def _evenly(cases: int, random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    return random.permutation(np.arange(cases) % PNEUMONIA_SITES), ["test"] * cases


def covid(out: Path, fold: int) -> list[Site]:
    """Sites by projection; the patients of a fold are its test cases, those of the next are for choosing the round."""
    source = find_data("hannover_covid_cxr")
    with (source / "data.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    patients = sorted({row["patient_id"] for row in rows})
    place = dict(zip(patients, np.random.default_rng(0).permutation(np.arange(len(patients)) % FOLDS), strict=True))
    parts = {fold: "test", (fold + 1) % FOLDS: "validation"}
    for row in rows:
        row["split"] = parts.get(int(place[row["patient_id"]]), "training")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    mapping = yaml.safe_load((JOBS["covid_icu_multimodal"] / "mapping.yaml").read_text())
    mapping["split"] = {"column": "split"}
    (out / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    return [
        Site(name, source, out / "table.csv", out / "mapping.yaml", (f"projection={name}",)) for name in ("ap", "pa")
    ]


STUDIES = {
    "heart": ("heart_disease_tabular", heart),
    "pneumonia": ("pneumonia_classification", pneumonia),
    "ventricle": ("lv_segmentation_2d", ventricle),
}


# What is told.


def told(study: str, runs: Mapping[int, Sequence[Mapping[str, Any]]], metrics: Sequence[str]) -> str:
    """Tables in Markdown: each model's mean and range over the seeds on all sites' test cases, then by site."""
    lines = []
    for metric in metrics:
        chosen = {seed: [row for row in rows if row["metric"] == metric] for seed, rows in runs.items()}
        lines += [f"\n{study}, {metric}, test cases of all sites:\n"]
        lines += ["| model | mean over seeds | range | federated minus this, each seed with its interval |"]
        lines += ["|---|---|---|---|"]
        models = dict.fromkeys(row["model"] for rows in chosen.values() for row in rows)
        for model in models:
            mine = [row for rows in chosen.values() for row in rows if row["model"] == model and row["site"] is None]
            values = [_value(row) for row in mine]
            gains = "; ".join(_interval(row["difference"]) for row in mine if row["difference"])
            lines.append(f"| {model} | {np.mean(values):.3f} | {min(values):.3f} to {max(values):.3f} | {gains} |")
        lines += [
            f"\n{study}, {metric}, by site, first seed:\n",
            "| site | model | cases | score |",
            "|---|---|---|---|",
        ]
        first = next(iter(chosen.values()))
        lines += [
            f"| {row['site']} | {row['model']} | {_cases(row)} | {_interval(row.get('score'))} |"
            for row in first
            if row["site"] is not None
        ]
    return "\n".join(lines)


def _value(row: Mapping[str, Any]) -> float:
    score = row["score"]
    return float(score["value"] if "value" in score else score["mean"])


def _cases(row: Mapping[str, Any]) -> int:
    return int(row["cases"] if "cases" in row else row["score"]["cases"])


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "none"
    value = found["value"] if "value" in found else found["mean"]
    low, high = found.get("low"), found.get("high")
    return f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


# Image and laboratory: five folds, three tasks.

INPUTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "both": lambda task: None,
    "image": lambda task: task.update(kind="classification", covariates=[]),
    "laboratory": lambda task: (task.update(kind="tabular", image=None), task["network"].pop("encoder")),
}


def covid_answers(out: Path, seed: int) -> dict[str, OutcomeEvaluation]:
    """The federated models' answers for each kind of input, over the test cases of all folds."""
    found: dict[str, list[OutcomeCase]] = {}
    for fold in range(FOLDS):
        place = out / f"fold-{fold}"
        datasets = prepare(covid(place, fold), JOBS["covid_icu_multimodal"], place / "sites")
        for name, change in INPUTS.items():
            job = job_with_task(JOBS["covid_icu_multimodal"], out / "jobs" / name, change)
            content = run(job, datasets, place / name, seed, baselines=False)
            found.setdefault(name, []).extend(OutcomeCase.check(case, "case") for case in content["cases"])
            print(f"fold {fold}, {name}: done", flush=True)
    return {
        name: OutcomeEvaluation(
            model=name,
            task=content["task"],
            task_digest=content["task_digest"],
            split="test",
            kind="multiclass",
            finds=content["finds"],
            # Each fold has its own; areas do not ask for it.
            operating=OperatingPoints(origin="none", thresholds={"icu": 0.5}),
            cases=tuple(cases),
        )
        for name, cases in found.items()
    }


def covid_told(answers: Mapping[str, OutcomeEvaluation]) -> str:
    """Area under the curve over all folds' answers, and what both inputs together gain over one of them."""
    lines = ["| inputs | site | cases | patients | AUROC | both inputs minus this |", "|---|---|---|---|---|---|"]
    others = {name: found for name, found in answers.items() if name != "both"}
    lines += [
        f"| {row.model} | {row.site or 'both sites'} | {row.cases} | {row.patients} "
        f"| {_interval(row.score.model_dump())} | {_gain(row)} |"
        for row in compare_outcomes(answers["both"], others)
        if row.metric == "auroc"
    ]
    return "\n".join(lines)


def _gain(row: OutcomeRow) -> str:
    return "" if row.difference is None else _interval(row.difference.model_dump())


def main() -> None:
    """Run a study and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=(*STUDIES, "covid"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    out = given.out.absolute()
    if given.study == "covid":
        print(covid_told(covid_answers(out, given.seeds[0])))
        return
    name, make = STUDIES[given.study]
    runs = {}
    for seed in given.seeds:
        place = out / f"seed-{seed}"
        datasets = prepare(make(place, seed), JOBS[name], place / "sites")
        runs[seed] = run(JOBS[name], datasets, place, seed)["comparison"]
        print(f"seed {seed}: done", flush=True)
    print(told(given.study, runs, ("dice",) if given.study == "ventricle" else ("auroc", "accuracy")))


if __name__ == "__main__":
    main()
