"""The weights that a training begins with, written by a process of its own: ``python -m radfed.training.initial``."""

import sys
from pathlib import Path

from radfed.job import Job
from radfed.weights import save_weights


def main(job_file: Path, out: Path) -> None:
    """Build the job's network from its seed and write its weights.

    Raises:
        InvalidInputError: there is no such network, or it cannot be trained as the job asks.
    """
    from radfed.training.networks import build_network
    from radfed.training.privacy_networks import check_private

    job = Job.read_json(job_file)
    network = build_network(job.task, job.job.training.seed)
    if job.job.training.privacy is not None:
        check_private(job.task, network)
    save_weights(out, {name: tensor.numpy() for name, tensor in network.state_dict().items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
