"""``metadata.json``: the fields of a MONAI Bundle, so that its readers know what goes in and what comes out."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import Any

from radfed import __version__
from radfed.task import CategoricalCovariate, Channel, Intensity, OutcomeTask, SegmentationTask, Survival, Window

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
PHANTOM_DATA = "computer-made phantoms, no patients"
_PACKAGES = ("nibabel", "onnx", "onnxruntime", "safetensors", "scipy")
_MODALITY = {"CT": "CT", "MR": "MR", "PT": "PET", "CR": "CR", "DX": "DX", "OT": "n/a"}


def bundle_metadata(task: SegmentationTask | OutcomeTask, release_version: str, phantom: bool) -> dict[str, Any]:
    """The MONAI Bundle metadata of a release.

    Args:
        task: the contract.
        release_version: of the release.
        phantom: whether the model was trained on made-up data.
    """
    classes = _classes(task)
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
        "data_source": PHANTOM_DATA if phantom else "hospital sites, see training/ledger.jsonl",
        "data_type": _data_type(task),
        "image_classes": ", ".join(f"{channel.name} ({channel.modality})" for channel in _channels(task)),
        "label_classes": _label_classes(task),
        "pred_classes": ", ".join(f"{index}: {name}" for index, name in classes.items()),
        "eval_metrics": {},
        "intended_use": task.intended_use,
        "references": [],
        "network_data_format": network_data_format(task),
    }


def network_data_format(task: SegmentationTask | OutcomeTask) -> dict[str, Any]:
    """What the network takes and gives, per window or per case, in MONAI's terms."""
    match task:
        case SegmentationTask():
            shape, image = list(task.window), _image(task.channels, task.intensity, list(task.window), patch=True)
            pred = {"type": "image", "format": "segmentation", "num_channels": task.outputs, "spatial_shape": shape}
            inputs = {"image": image}
        case OutcomeTask():
            inputs = {}
            if task.image is not None:
                size = list(task.image.size)
                inputs["image"] = _image(task.image.channels, task.image.intensity, size, patch=False)
            if task.covariates:
                inputs["covariates"] = _covariates(task)
            # Logits: softmax of classes, sigmoid of findings; of survival the log hazard.
            kind = {"survival": "tuples"}.get(task.outcome.type, "probabilities")
            pred = {"type": kind, "format": "classes", "num_channels": task.outputs, "spatial_shape": []}
    return {
        "inputs": inputs,
        "outputs": {
            "pred": {
                **pred,
                "dtype": "float32",
                "value_range": [],
                "is_patch_data": isinstance(task, SegmentationTask),
                "channel_def": {str(index): name for index, name in _classes(task).items()},
            }
        },
    }


def _image(channels: Sequence[Channel], intensity: Intensity, shape: list[int], *, patch: bool) -> dict[str, Any]:
    # Only a window bounds what the network sees; z-scores have no limits.
    bounds = [0.0, 1.0] if isinstance(intensity, Window) else []
    kind = "hounsfield" if channels[0].modality == "CT" and isinstance(intensity, Window) else "magnitude"
    return {
        "type": "image",
        "format": kind,
        "modality": _MODALITY[channels[0].modality],
        "num_channels": len(channels),
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": bounds,
        "is_patch_data": patch,
        "channel_def": {str(index): channel.name for index, channel in enumerate(channels)},
    }


def _covariates(task: OutcomeTask) -> dict[str, Any]:
    """The encoded record: each number by what it means, in the order in which the network takes them."""
    return {
        "type": "tuples",
        "format": "raw",
        "modality": "n/a",
        "num_channels": task.width,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(index): name for index, name in enumerate(encoded_names(task))},
    }


def encoded_names(task: OutcomeTask) -> list[str]:
    """What each number of an encoded record is; see ``radfed.preprocessing.records``."""
    names = []
    for covariate in task.covariates:
        if isinstance(covariate, CategoricalCovariate):
            names += [f"{covariate.name} = {value}" for value in covariate.values]
        else:
            names.append(covariate.name)
        names.append(f"{covariate.name} missing")
    return names


def _channels(task: SegmentationTask | OutcomeTask) -> Sequence[Channel]:
    if isinstance(task, SegmentationTask):
        return task.channels
    return task.image.channels if task.image is not None else ()


def _data_type(task: SegmentationTask | OutcomeTask) -> str:
    if isinstance(task, SegmentationTask):
        return "nifti"
    image = () if task.image is None else ("png", "nifti", "dicom")[task.image.dimensions - 2 :]
    return ", ".join((*image, *(("csv", "parquet") if task.covariates else ())))


def _label_classes(task: SegmentationTask | OutcomeTask) -> str:
    if isinstance(task, SegmentationTask):
        return ", ".join(f"{label.value}: {label.name}" for label in task.labels)
    if isinstance(task.outcome, Survival):
        return f"time to the event ({task.outcome.unit}), and whether it was seen"
    return ", ".join(f"{index}: {name}" for index, name in enumerate(task.finds))


def installed_packages() -> str:
    """One sorted ``name==version`` a line, of everything installed here."""
    found = {(dist.metadata["Name"] or "").lower(): dist.version for dist in distributions()}
    return "".join(sorted(f"{name}=={number}\n" for name, number in found.items() if name))


def _classes(task: SegmentationTask | OutcomeTask) -> dict[int, str]:
    return dict(enumerate((*(("background",) if isinstance(task, SegmentationTask) else ()), *task.finds)))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
