"""Is a federation worth it? Hippocampus at three sites, federated beside pooled and local-only, over several seeds.

    RADFED_DATA=DIR python tools/bench/federation_gain.py --out gain

Federated, pooled and the local models together each take the same total of optimiser steps. One line a seed as it
comes, then a Markdown table with mean and range over the seeds for docs/reference/benchmarks.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCAL = "local-"


def run(seed: int, out: Path, extra: list[str]) -> dict[str, Any]:
    """One demo with baselines; its JSON."""
    command = [sys.executable, "-m", "radfed.cli.main", "demo", "--data", "msd_hippocampus", "--baselines", "--json"]
    command += ["--seed", str(seed), "--out", str(out / f"seed-{seed}"), *extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    (out / f"seed-{seed}.json").write_text(json.dumps(result, indent=1))
    return result


def scores(result: dict[str, Any]) -> dict[str, float]:
    """Mean test Dice on the union of the sites, by model; local models by themselves and as their mean."""
    found = {"federated": result["summary"]["pooled"]["mean"]["dice"]["mean"]}
    found |= {name: summary["pooled"]["mean"]["dice"]["mean"] for name, summary in result["baselines"].items()}
    local = [score for name, score in found.items() if name.startswith(LOCAL)]
    return found | {"mean of local": sum(local) / len(local)}


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("federation-gain"))
    parser.add_argument("extra", nargs="*", help="further options of radfed demo, after --")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in given.seeds:
        result = run(seed, given.out, given.extra)
        rows.append(scores(result))
        seconds = {kind: round(value) for kind, value in result["seconds"].items()}
        print(seed, {name: round(score, 4) for name, score in rows[-1].items()}, seconds, flush=True)
    print("| model | mean test Dice | range over seeds |\n|---|---|---|")
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"| {name} | {sum(values) / len(values):.4f} | {min(values):.4f} to {max(values):.4f} |")


if __name__ == "__main__":
    main()
