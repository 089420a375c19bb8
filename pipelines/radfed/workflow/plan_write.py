"""A plan on disk: the contract with its origin in a comment above it, and ``plan.json`` beside it."""

import hashlib
import json
import textwrap
from pathlib import Path

from radfed.dataset.fingerprint_content import FINGERPRINT, Fingerprint
from radfed.files import put_text
from radfed.task import read_task
from radfed.workflow.plan import Plan, make_plan

PLAN = "plan.json"


def plan_task(fingerprint: Path, task: Path, out: Path) -> Plan:
    """Make a plan and write it.

    Args:
        fingerprint: ``fingerprint.json``, or the folder that holds it.
        task: the contract to fill in.
        out: the file for the new contract; may be the same. Comments of the old one are lost.

    Raises:
        InvalidInputError: a file cannot be read, or they do not belong together.
    """
    file = fingerprint / FINGERPRINT if fingerprint.is_dir() else fingerprint
    found = Fingerprint.read_json(file)
    planned, plan = make_plan(found, read_task(task), hashlib.sha256(file.read_bytes()).hexdigest())
    out.parent.mkdir(parents=True, exist_ok=True)
    put_text(out, header(plan) + planned.to_yaml())
    put_text(out.with_name(PLAN), plan.model_dump_json(indent=2) + "\n")
    return plan


def header(plan: Plan) -> str:
    """The plan as a comment. It is no part of the contract, whose digest stays that of its values."""
    lines = [f"Planned from the fingerprint of {', '.join(plan.sites)}"]
    lines += [f"fingerprint sha256 {plan.fingerprint}"] if plan.fingerprint else []
    for decision in plan.decisions:
        lines.append(f"{decision.key}: {_said(decision.after)}, was {_said(decision.before)}: {decision.reason}")
    if plan.batch_size is not None:
        lines.append(f"For job.yaml: training.batch_size: {plan.batch_size}")
    lines += plan.notes
    return "".join(f"# {part}\n" for line in lines for part in textwrap.wrap(line, 116, subsequent_indent="  "))


def _said(value: object) -> str:
    return json.dumps(value)
