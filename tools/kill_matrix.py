"""The kill matrix of a real federation: every kind of process killed at every kind of moment, one campaign a cell.

    python tools/kill_matrix.py --out kills [--write docs/reference/reliability.md] [--only NAME ...]

Each cell is a campaign of four rounds over mTLS with three sites, in which one process is killed once with kill -9.
Prints a line a cell, appends it to OUT/cells.jsonl, and writes the table between the two marker comments of a Markdown
file. Ends with 1 if a promise was broken. About half an hour on two idle cores.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

sys.path.append(str(Path(__file__).parents[1]))

from tests.integration.federation_data import write_datasets
from tests.integration.federation_host import LoopbackFederation
from tests.integration.federation_kills import (
    CELLS,
    ROLES,
    SITES,
    Cell,
    Ended,
    KillMatrix,
    matrix_hooks,
    matrix_job,
    verdict,
)

BEGIN, END = "<!-- kill matrix: begin -->", "<!-- kill matrix: end -->"
_HEAD = ("killed", "while", "outcome", "links", "extra (s)", "Dice difference", "same model", "promise")


def table(results: Mapping[Cell, Ended | str], undisturbed: Ended) -> str:
    """The matrix in Markdown.

    Args:
        results: by cell, how its campaign ended, or why it did not.
        undisturbed: the campaign without a kill.
    """
    rows: list[Sequence[str]] = [_HEAD, ("---",) * len(_HEAD)]
    rows.append(("nothing", "", undisturbed.outcome, str(undisturbed.links), "", "", "", ""))
    rows += [_row(cell, ended, undisturbed) for cell, ended in results.items()]
    link = undisturbed.seconds / undisturbed.links
    facts = (
        f"Undisturbed: {undisturbed.seconds:.0f} s in {undisturbed.links} links of {link:.0f} s, validation Dice "
        f"{undisturbed.dice:.4f}. *Extra* is the time beyond the undisturbed one's; two links take {2 * link:.0f} s."
    )
    return facts + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(cell: Cell, ended: Ended | str, undisturbed: Ended) -> Sequence[str]:
    names = (ROLES[cell.role], cell.moment.value)
    if isinstance(ended, str):
        return (*names, "did not end", "", "", "", "", f"broken: {ended}")
    broken = verdict(ended, undisturbed)
    difference = "" if ended.dice is None or undisturbed.dice is None else f"{ended.dice - undisturbed.dice:+.4f}"
    outcome = f"{ended.outcome} ({', '.join(ended.missing)})" if ended.missing else ended.outcome
    return (
        *names,
        outcome,
        str(ended.links),
        f"{ended.seconds - undisturbed.seconds:.0f}",
        difference,
        "yes" if ended.digest == undisturbed.digest else "no",
        f"broken: {'; '.join(broken)}" if broken else "kept",
    )


def place(text: str, content: str) -> str:
    """``text`` with ``content`` between the two marker comments.

    Raises:
        ValueError: the markers are not there, once each and in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the file must hold {BEGIN} and then {END}, once each")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def run_cells(
    federation: LoopbackFederation, cells: Sequence[Cell], out: Path
) -> tuple[dict[Cell, Ended | str], Ended]:
    """The undisturbed campaign, then all cells; each is told and kept as it ends."""
    matrix = KillMatrix(federation, out / "jobs")
    undisturbed = matrix.undisturbed()
    print(f"undisturbed: {undisturbed}", flush=True)
    results: dict[Cell, Ended | str] = {}
    for number, cell in enumerate(cells, start=1):
        began = time.monotonic()
        ended: Ended | str
        try:
            ended = matrix.run(cell)
        except (TimeoutError, psutil.NoSuchProcess) as error:
            ended = str(error).splitlines()[0]
        results[cell] = ended
        broken = [ended] if isinstance(ended, str) else verdict(ended, undisturbed)
        seconds = time.monotonic() - began
        print(f"{number}/{len(cells)} {cell.name}: {broken or 'kept'} ({seconds:.0f} s) {ended}", flush=True)
        with (out / "cells.jsonl").open("a", encoding="utf-8") as file:
            content = {"error": ended} if isinstance(ended, str) else asdict(ended)
            file.write(json.dumps({"cell": cell.name, "broken": broken, **content}) + "\n")
    return results, undisturbed


def main() -> int:
    """Run the matrix.

    Returns:
        1 if a promise was broken, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder for kits, data and campaigns")
    parser.add_argument("--write", type=Path, help="Markdown file that gets the table")
    parser.add_argument("--only", nargs="+", choices=[cell.name for cell in CELLS], help="some cells instead of all")
    given = parser.parse_args()
    out: Path = given.out.absolute()
    if out.exists() and any(out.iterdir()):
        parser.error(f"--out {out}: is not empty; give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    datasets = write_datasets(out / "data", SITES, matrix_job())
    cells = [cell for cell in CELLS if given.only is None or cell.name in given.only]
    with LoopbackFederation(out / "fed", SITES, datasets, hooks=matrix_hooks(out / "hooks")) as federation:
        results, undisturbed = run_cells(federation, cells, out)
    content = table(results, undisturbed)
    print(content)
    if given.write is not None:
        given.write.write_text(place(given.write.read_text(encoding="utf-8"), content), encoding="utf-8")
    return int(any(isinstance(ended, str) or verdict(ended, undisturbed) for ended in results.values()))


if __name__ == "__main__":
    sys.exit(main())
