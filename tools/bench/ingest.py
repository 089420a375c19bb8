"""How fast and how large is ingest, beside dcm2niix and dicom2nifti, on the same DICOM files in one run?

    python tools/bench/ingest.py --out bench-ingest                       # 1,000 slices of 512 x 512, int16 CT
    python tools/bench/ingest.py --out bench-ingest --layout 10x100 --compression jpeg2000 --repeats 3

Programs take turns, each a process of its own with one result a series as .nii.gz (dcm2niix also as .nii). ``ingest``
is the whole command: de-identification of what it keeps, checks, digests, splits, worker processes. ``reader`` is
reading and writing alone, in one process. A ratio is radfed's time by the other's in the same turn. Memory is the sum
over all processes of a program (proportional set size) and its largest one. ``--flat 10 100`` ingests that many small
studies instead and compares the memory.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from radfed.imaging.phantoms_dicom import fake_patient, write_series
from radfed.imaging.volume import Volume

READER = """
import sys
from pathlib import Path
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.nifti import to_ras, write_image
for number, series in enumerate(index_folder(Path(sys.argv[1])).series):
    write_image(Path(sys.argv[2], f"{number}.nii.gz"), to_ras(read_series(series).volume))
"""
DICOM2NIFTI = """
import sys
from pathlib import Path
import dicom2nifti
for study in Path(sys.argv[1]).iterdir():  # it names files by series only: studies in one folder overwrite each other
    out = Path(sys.argv[2], study.name)
    out.mkdir()
    dicom2nifti.convert_directory(study, out, compression=True, reorient=True)
"""
OURS = ("reader", "ingest")


@dataclass(frozen=True)
class Run:
    """One turn of one program: time (s), memory of its largest process and of all of them (MiB), bytes written."""

    seconds: float
    largest_mib: float
    together_mib: float
    bytes_written: int


def program(name: str, source: Path, out: Path) -> list[str]:
    """The command of a program."""
    match name:
        case "reader":
            return [sys.executable, "-c", READER, str(source), str(out)]
        case "ingest":
            return [sys.executable, "-m", "radfed.cli.main", "ingest", str(source), "--out", str(out / "dataset")]
        case "dicom2nifti":
            return [sys.executable, "-c", DICOM2NIFTI, str(source), str(out)]
    pack = "y" if name == "dcm2niix -z y" else "n"
    return [sys.executable, "-m", "dcm2niix", "-z", pack, "-b", "n", "-f", "%s_%j", "-o", str(out), str(source)]


def measure(name: str, source: Path, out: Path, series: int) -> Run:
    """Run a program once in an empty folder, and check that it wrote an image a series."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    with (out / "log").open("wb") as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            program(name, source, out), stdout=log, stderr=log, env=environment, start_new_session=True
        )
        peak = _Peak(process.pid)
        process.wait()
        seconds = time.perf_counter() - start
        peak.stop()
    written = [path for path in out.rglob("*.nii*") if path.is_file()]
    if process.returncode != 0 or len(written) != series:
        sys.exit(f"{name} ended with {process.returncode} and {len(written)} of {series} images; see {out / 'log'}")
    return Run(seconds, peak.largest, peak.together, sum(path.stat().st_size for path in written))


class _Peak:
    """Watches the memory of all processes of a session, five times a second."""

    def __init__(self, session: int) -> None:
        self.largest = 0.0
        self.together = 0.0
        self._session = session
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            ours = [path for path in Path("/proc").glob("[0-9]*") if self._is_ours(path)]
            # The kernel's own high-water mark: wait4 would give the bench's memory, from before the program began.
            self.largest = max(self.largest, *(_mib(path / "status", "VmHWM:") for path in ours), 0.0)
            self.together = max(self.together, sum(_mib(path / "smaps_rollup", "Pss:") for path in ours))

    def _is_ours(self, path: Path) -> bool:
        try:
            return int((path / "stat").read_text().rsplit(")", 1)[1].split()[3]) == self._session
        except (OSError, ValueError, IndexError):
            return False


def _mib(path: Path, name: str) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def scan(slices: int, side: int, seed: int) -> NDArray[np.int16]:
    """A CT ``(side, side, slices)`` in HU: air around a smooth body, noise of 10 HU."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side - 0.5
    body = (x**2 / 0.2 + y**2 / 0.12) < 1
    coarse = gaussian_filter(rng.normal(size=(slices, side // 8, side // 8)).astype(np.float32), 3)
    coarse *= 60 / coarse.std()
    array = np.empty((side, side, slices), dtype=np.int16)
    for index in range(slices):
        tissue = 40 + np.kron(coarse[index], np.ones((8, 8), dtype=np.float32))
        noisy = np.where(body, tissue, -1000) + 10 * rng.standard_normal((side, side), dtype=np.float32)
        array[..., index] = np.rint(noisy).clip(-1024, 3071)
    return array


def make_source(folder: Path, studies: int, slices: int, side: int, compression: str) -> None:
    """DICOM studies of one series each, a folder and a patient each; kept if it is there already."""
    if folder.is_dir():
        return
    beside = folder.with_name(f".{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    affine = np.diag([-0.7, -0.7, 1.0, 1.0])
    for study in range(studies):
        volume = Volume(scan(slices, side, study)[np.newaxis], affine)
        patient = fake_patient(np.random.default_rng(study))
        write_series(
            beside / f"study-{study:04}",
            volume,
            "ct",
            patient,
            seed=study,
            compression=compression,  # type: ignore[arg-type]
        )
    os.replace(beside, folder)


def take_turns(names: Sequence[str], source: Path, out: Path, series: int, repeats: int) -> dict[str, list[Run]]:
    """Each program once a turn, the first one rotating; a turn that warms the file cache is not counted."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for shift in range(len(names)):
            name = names[(turn + shift) % len(names)]
            run = measure(name, source, out / "result", series)
            if turn:
                runs[name].append(run)
            print(f"  {'turn ' + str(turn) if turn else 'warm-up'}: {name} {run.seconds:.1f} s", file=sys.stderr)
    return runs


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and the range in brackets."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_speed(runs: dict[str, list[Run]], title: str) -> None:
    """A Markdown table: times, memory, and ours by each other program."""
    ours = [name for name in OURS if name in runs]
    print(f"\n{title}\n")
    heads = "".join(f" {name} / it |" for name in ours)
    print(f"| program | s | MiB, largest process | MiB, all | MB written |{heads}")
    print("|---|---|---|---|---|" + "---|" * len(ours))
    for name, own in runs.items():
        ratios = [spread([a.seconds / b.seconds for a, b in zip(runs[one], own, strict=True)]) for one in ours]
        cells = [name, spread([run.seconds for run in own], 1), spread([run.largest_mib for run in own], 0)]
        cells += [spread([run.together_mib for run in own], 0), f"{own[0].bytes_written / 1e6:.0f}", *ratios]
        print(f"| {' | '.join(cells)} |")


def print_flatness(given: argparse.Namespace) -> dict[str, list[Run]]:
    """Memory of ingest for few and for many studies of 20 slices of 256 x 256."""
    results: dict[str, list[Run]] = {}
    print("\n| studies | s | MiB, largest process | MiB, all |\n|---|---|---|---|")
    for studies in given.flat:
        source = given.out / f"flat-{studies}"
        make_source(source, studies, 20, 256, "none")
        own = [measure("ingest", source, given.out / "result", studies) for _ in range(given.repeats)]
        results[str(studies)] = own
        cells = [spread([run.seconds for run in own], 1), spread([run.largest_mib for run in own], 0)]
        print(f"| {studies} | {' | '.join(cells)} | {spread([run.together_mib for run in own], 0)} |")
    return results


def main() -> None:
    """Make the sources, let the programs take turns, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-ingest"), help="sources (kept) and results")
    parser.add_argument("--layout", nargs="+", default=["10x100", "1x1000"], help="series x slices")
    parser.add_argument("--compression", nargs="+", default=["none"], help="of the DICOM files")
    parser.add_argument("--side", type=int, default=512, help="rows and columns")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--flat", type=int, nargs="+", default=[], help="numbers of studies, for memory alone")
    parser.add_argument(
        "--programs", nargs="+", default=["reader", "ingest", "dcm2niix -z y", "dcm2niix -z n", "dicom2nifti"]
    )
    parser.add_argument("--json", type=Path, help="write every run here")
    given = parser.parse_args()
    results: dict[str, dict[str, list[Run]]] = {}
    if given.flat:
        results["flat"] = print_flatness(given)
    for layout, compression in [] if given.flat else [(a, b) for a in given.layout for b in given.compression]:
        series, slices = (int(part) for part in layout.split("x"))
        source = given.out / f"{layout}-{given.side}-{compression}"
        make_source(source, series, slices, given.side, compression)
        runs = take_turns(given.programs, source, given.out, series, given.repeats)
        title = f"{series} series of {slices} slices, {given.side} x {given.side}, transfer syntax: {compression}"
        print_speed(runs, title)
        results[f"{layout} {compression}"] = runs
    if given.json:
        plain = {
            key: {name: [asdict(run) for run in own] for name, own in runs.items()} for key, runs in results.items()
        }
        given.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
