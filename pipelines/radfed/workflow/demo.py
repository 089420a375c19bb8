"""The whole line on three sites of this machine: hospitals, datasets, federation, release, report."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from radfed.dataset.ingest import IngestReport, IngestSettings, ingest
from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SplitSettings
from radfed.errors import InvalidInputError
from radfed.federation.simulate import simulate
from radfed.inference.model import OnnxModel
from radfed.job import Job, find_job
from radfed.ledger import FinalLine, Line, read_ledger
from radfed.release.package import add_evaluation, build_release
from radfed.site.config import init_site, read_secret
from radfed.validation.evaluate import evaluate
from radfed.validation.results import Evaluation
from radfed.workflow.cohorts import JOBS, PHANTOMS, SPLIT_SEEDS, deal_out, download, find_data, make_phantoms
from radfed.workflow.simulation import run_baselines
from radfed.workflow.timing import Clock
