"""``metadata.json``: the fields of a MONAI Bundle, so that its readers know what goes in and what comes out."""

from importlib.metadata import PackageNotFoundError, distributions, version
from typing import Any

from radfed import __version__
from radfed.task import TaskSpec, Window

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_PACKAGES = ("nibabel", "onnx", "onnxruntime", "safetensors", "scipy")
_MODALITY = {"CT": "CT", "MR": "MR", "PT": "PET", "OT": "n/a"}


def bundle_metadata(task: TaskSpec, release_version: str, phantom: bool) -> dict[str, Any]:
    """The MONAI Bundle metadata of a release.

    Args:
        task: the contract.
        release_version: of the release.
        phantom: whether the model was trained on made-up data.
    """
    return {
        "schema": SCHEMA,
        "name": task.name,
        "version": release_version,
        "changelog": {release_version: "built by radfed release build"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {"radfed": __version__, **{name: _version(name) for name in _PACKAGES}},
        "task": task.description,
        "description": task.description,
        "authors": "not stated",
        "copyright": "not stated",
        "data_source": "computer-made phantoms, no patients"
        if phantom
        else "hospital sites, see training/ledger.jsonl",
        "data_type": "nifti",
        "image_classes": ", ".join(f"{channel.name} ({channel.modality})" for channel in task.channels),
        "label_classes": ", ".join(f"{label.value}: {label.name}" for label in task.labels),
        "pred_classes": ", ".join(f"{index}: {name}" for index, name in _classes(task).items()),
        "eval_metrics": {},
        "intended_use": task.intended_use,
        "references": [],
        "network_data_format": network_data_format(task),
    }


def network_data_format(task: TaskSpec) -> dict[str, Any]:
    """What the network takes and gives, per window, in MONAI's terms."""
    shape = list(task.roi_size)
    # Only a window bounds what the network sees; z-scores have no limits.
    bounds = [0.0, 1.0] if isinstance(task.intensity, Window) else []
    kind = "hounsfield" if task.channels[0].modality == "CT" and isinstance(task.intensity, Window) else "magnitude"
    return {
        "inputs": {
            "image": {
                "type": "image",
                "format": kind,
                "modality": _MODALITY[task.channels[0].modality],
                "num_channels": len(task.channels),
                "spatial_shape": shape,
                "dtype": "float32",
                "value_range": bounds,
                "is_patch_data": True,
                "channel_def": {str(index): channel.name for index, channel in enumerate(task.channels)},
            }
        },
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                "num_channels": len(task.labels) + 1,
                "spatial_shape": shape,
                "dtype": "float32",
                "value_range": [],
                "is_patch_data": True,
                "channel_def": {str(index): name for index, name in _classes(task).items()},
            }
        },
    }


def installed_packages() -> str:
    """One sorted ``name==version`` a line, of everything installed here."""
    found = {(dist.metadata["Name"] or "").lower(): dist.version for dist in distributions()}
    return "".join(sorted(f"{name}=={number}\n" for name, number in found.items() if name))


def _classes(task: TaskSpec) -> dict[int, str]:
    return dict(enumerate(("background", *(label.name for label in task.labels))))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
