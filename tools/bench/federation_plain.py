"""A plain FLARE FedAvg recipe on its simulator, for tools/bench/federation.py: the client trains with radfed's trainer.

Run as ``federation_plain.py WORKSPACE SITES ROUNDS NETWORK_ARGUMENTS``; FLARE runs the same file as the client.
"""

import json
import os
import sys
import time
from pathlib import Path

POLL = 0.1


def serve() -> None:
    """Start the federation."""
    from nvflare.app_opt.pt.recipes import FedAvgRecipe
    from nvflare.recipe import SimEnv

    workspace, sites, rounds, arguments = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    # Background and the phantom task's two labels.
    arguments |= {"in_channels": 1, "out_channels": 3}
    recipe = FedAvgRecipe(
        name="plain",
        model={"class_path": "monai.networks.nets.UNet", "args": arguments},
        min_clients=sites,
        num_rounds=rounds,
        train_script=Path(__file__).name,
        train_args="client",
    )
    recipe.add_server_config({"server": {"task_request_interval": POLL}})
    recipe.add_client_config({"default_task_fetch_interval": POLL})
    recipe.run(SimEnv(clients=[f"site-{n:02d}" for n in range(1, sites + 1)], workspace_root=str(workspace)))


def answer() -> None:
    """Be a client that does with radfed's trainer what radfed's own client does."""
    import nvflare.client as flare
    import torch

    from radfed.dataset.layout import Dataset
    from radfed.job import Job
    from radfed.training.device import choose_device, claim_threads
    from radfed.training.kinds import load_cases, trainer_for

    claim_threads(int(os.environ["OMP_NUM_THREADS"]))
    job_file = Path(os.environ["BENCH_JOB"])
    job, dataset = Job.read_json(job_file), Dataset.read(Path(os.environ["BENCH_DATA"]))
    flare.init()
    name = flare.get_site_name()
    trainer = trainer_for(job.task, job.job.training, name, job.job.federation.rounds, choose_device("auto"))
    training, validation = (load_cases(dataset, split, job.task) for split in ("training", "validation"))
    number = 0
    while flare.is_running():
        model = flare.receive()
        if model is None:
            break
        trainer.network.load_state_dict({key: torch.as_tensor(value) for key, value in model.params.items()})
        loaded = time.monotonic()
        if number:
            trainer.validate(validation)
        trainer.train(training, number, 1)
        seconds = time.monotonic() - loaded
        with job_file.with_name(f"work-{name}.jsonl").open("a") as file:
            file.write(json.dumps(seconds) + "\n")
        number += 1
        params = {key: tensor.detach().cpu() for key, tensor in trainer.network.state_dict().items()}
        flare.send(flare.FLModel(params=params, metrics={"accuracy": 0.5}))


if __name__ == "__main__":
    if sys.argv[1:] == ["client"]:
        answer()
    else:
        # FLARE looks for the training script in the current folder.
        os.chdir(Path(__file__).parent)
        serve()
