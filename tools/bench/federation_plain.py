"""A plain FLARE FedAvg recipe on its simulator, for tools/bench/federation.py: the client sends back what it got.

Run as ``federation_plain.py WORKSPACE SITES ROUNDS NETWORK_ARGUMENTS``; FLARE runs the same file as the client.
"""

import json
import sys
from pathlib import Path

POLL = 0.1


def serve() -> None:
    """Start the federation."""
    from nvflare.app_opt.pt.recipes import FedAvgRecipe
    from nvflare.recipe import SimEnv

    workspace, sites, rounds, arguments = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    arguments |= {"in_channels": 1, "out_channels": 4}
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
    """Be a client that trains nothing."""
    import nvflare.client as flare

    flare.init()
    while flare.is_running():
        model = flare.receive()
        if model is None:
            break
        flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 0.5}))


if __name__ == "__main__":
    if sys.argv[1:] == ["client"]:
        answer()
    else:
        import os

        # FLARE looks for the training script in the current folder.
        os.chdir(Path(__file__).parent)
        serve()
