"""Make the DICOM exports of three made-up hospitals, for the tutorials: phantoms, not patients.

python tools/phantom_hospitals.py FOLDER --cases 12
"""

import argparse
from pathlib import Path

from radfed.workflow.cohorts import PHANTOM_CASES, make_phantoms


def main() -> None:
    """Read the command line and write ``FOLDER/<hospital>/``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to; made if it is new")
    parser.add_argument("--cases", type=int, default=PHANTOM_CASES, help="studies of each hospital (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, folder in make_phantoms(options.folder, options.seed, options.cases).items():
        print(f"{name}: {folder}")


if __name__ == "__main__":
    main()
