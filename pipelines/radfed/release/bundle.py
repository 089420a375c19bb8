"""``configs/inference.json``: what MONAI's own bundle tools need to build the network and run it, without pickle.

``monai.bundle.load`` reads pickled or TorchScript files only, and a release holds neither. ``create_workflow``,
``ConfigWorkflow``, ``ConfigParser`` and ``python -m monai.bundle run`` follow the expressions below.
"""

from typing import Any

from radfed.inference.header import inputs_of
from radfed.release.layout import CONFORMANCE, TASK, WEIGHTS
from radfed.task import DynUNetNetwork, OutcomeTask, SegmentationTask

_TOLERANCE = 1e-3
# MONAI binds the whole of "import a.b" to one name.
_IMPORTS = ("$from pathlib import Path", "$from safetensors.torch import load_file", "$import torch")


def inference_config(task: SegmentationTask | OutcomeTask) -> dict[str, Any]:
    """A MONAI bundle's configuration, to be run in the release's folder or with ``--bundle_root`` set to it.

    ``network_def`` is the network (of segmentation MONAI's own class; of other tasks radfed's builder on
    ``task.yaml``), ``network`` the same with the weights, in evaluation mode. ``run`` puts the stored vectors through
    it and fails unless the logits are the stored ones.
    """
    names = list(inputs_of(task)) if isinstance(task, OutcomeTask) else ["window"]
    given = ", ".join(f"@vectors['{name}'].to(@device)" for name in names)
    return {
        "imports": [*_IMPORTS, *(["$from radfed.task import TaskSpec"] if isinstance(task, OutcomeTask) else [])],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": _network(task),
        "weights": f"$load_file(Path(@bundle_root, '{WEIGHTS}'))",
        # What load_state_dict returns is never empty, so the whole is the network; a key too many or few raises.
        "network": "$@network_def.load_state_dict(@weights) and @network_def.to(@device).eval()",
        **_inferer(task),
        "vectors": f"$load_file(Path(@bundle_root, '{CONFORMANCE}/logits.safetensors'))",
        "logits": f"$@network({given}).detach().cpu()",
        "initialize": [],
        "run": [f"$torch.testing.assert_close(@logits, @vectors['logits'], atol={_TOLERANCE}, rtol={_TOLERANCE})"],
        "finalize": [],
    }


def _network(task: SegmentationTask | OutcomeTask) -> dict[str, Any]:
    if isinstance(task, OutcomeTask):
        contract = f"$TaskSpec.read(Path(@bundle_root, '{TASK}'))"
        return {"_target_": "radfed.training.networks.build_network", "task": contract, "seed": 0}
    arguments = task.network.args.model_dump(mode="json")
    if isinstance(task.network, DynUNetNetwork):
        arguments["upsample_kernel_size"] = arguments["strides"][1:]
    return {
        "_target_": f"monai.networks.nets.{task.network.name}",
        "spatial_dims": task.dimensions,
        "in_channels": len(task.channels),
        "out_channels": task.outputs,
        **arguments,
    }


def _inferer(task: SegmentationTask | OutcomeTask) -> dict[str, Any]:
    """How windows become a mask, of prepared volumes."""
    if isinstance(task, OutcomeTask):
        return {"inferer": {"_target_": "SimpleInferer"}}
    return {
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(task.window),
            "overlap": task.overlap,
            "mode": "gaussian",
        }
    }
