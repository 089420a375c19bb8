"""The other side of tools/bench/predict.py: the same model in MONAI and torch on the CPU, as a user would write it.

After MONAI's ``3d_segmentation/spleen_segmentation_3d`` and ``modules/inverse_transforms_and_test_time_augmentations``.
It does not import radfed unless ``--prepared`` asks for radfed's own preprocessing in place of MONAI's transforms.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    ClipIntensityPercentilesd,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImage,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
    Spacingd,
)
from safetensors.torch import load_file

_WINDOWS = 4


def network_of(release: Path, task: dict[str, Any]) -> torch.nn.Module:
    """The release's network with its weights; the shipped tasks' UNet."""
    network: torch.nn.Module = UNet(
        spatial_dims=task.get("dimensions", 3),
        in_channels=len(task["channels"]),
        out_channels=len(task["labels"]) + 1,
        **task["network"]["args"],
    )
    network.load_state_dict(load_file(release / "model.safetensors"))
    network.eval()
    return network


def inferer_of(task: dict[str, Any]) -> SlidingWindowInferer:
    """The windows of the contract, blended as radfed blends them; planes lie along the last axis."""
    planes = task.get("dimensions", 3) == 2
    inferer = SlidingWindowInferer(
        roi_size=task["roi_size"][:2] if planes else task["roi_size"],
        sw_batch_size=_WINDOWS,
        overlap=task["overlap"],
        mode="gaussian",
    )
    return inferer


def by_transforms(task: dict[str, Any], network: torch.nn.Module, out: Path) -> Callable[[Path], None]:
    """MONAI's transforms there and back."""
    rule = task["intensity"]
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes=task["orientation"], labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", pixdim=task["spacing"], mode="bilinear", padding_mode="border", scale_extent=True),
            ClipIntensityPercentilesd("image", lower=rule["lower"], upper=rule["upper"]),
            NormalizeIntensityd("image"),
        ]
    )
    after = Compose(
        [
            Activationsd("scores", softmax=True),
            Invertd("scores", before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("scores", argmax=True),
            SaveImaged("scores", output_dir=out, output_postfix="", separate_folder=False, output_dtype=np.uint8,
                       print_log=False, resample=False),
        ]
    )  # fmt: skip
    inferer = inferer_of(task)

    def one(path: Path) -> None:
        for batch in DataLoader(Dataset([{"image": str(path)}], before), batch_size=1):
            with torch.inference_mode():
                batch["scores"] = inferer(batch["image"], network)
            for item in decollate_batch(batch):
                after(item)

    return one


def by_radfed(release: Path, task: dict[str, Any], network: torch.nn.Module, out: Path) -> Callable[[Path], None]:
    """The arrays that radfed prepares, MONAI's windows, and radfed's way back: what must agree to the voxel."""
    from radfed.preprocessing.pipeline import prepare
    from radfed.task import SegmentationTask

    contract = SegmentationTask.read(release / "task.yaml")
    load, inferer, values = (
        LoadImage(image_only=True, ensure_channel_first=True),
        inferer_of(task),
        contract.label_values,
    )

    def one(path: Path) -> None:
        loaded = load(path)
        assert isinstance(loaded, MetaTensor)
        affine = loaded.affine.numpy()
        image, grid = prepare(np.ascontiguousarray(loaded.numpy(), dtype=np.float32), affine, contract)
        with torch.inference_mode():
            scores = windows(torch.from_numpy(image), network, inferer, contract.dimensions == 2)
        classes = grid.scores_to_source(scores).argmax(axis=0)
        mask = np.array((0, *values), dtype=np.uint8)[classes]
        if contract.postprocessing.keep_largest_component:
            mask = largest(mask, grid.last_axis if contract.dimensions == 2 else None)
        save_mask(out / path.name, mask, affine)

    return one


def windows(image: torch.Tensor, network: torch.nn.Module, inferer: SlidingWindowInferer, planes: bool) -> np.ndarray:
    """Logits ``(K, H, W, D)``; planes are the batch of a network of two dimensions."""
    if not planes:
        return np.asarray(inferer(image[None], network)[0].numpy())
    return np.asarray(inferer(image.permute(3, 0, 1, 2), network).permute(1, 2, 3, 0).numpy())


def largest(mask: np.ndarray, planes: int | None) -> np.ndarray:
    """The largest part of each label, of the volume or of each plane along an axis; MONAI's needs scikit-image."""
    from scipy import ndimage

    found = np.zeros_like(mask)
    pieces = (
        [(mask, found)] if planes is None else zip(*(np.moveaxis(a, planes, 0) for a in (mask, found)), strict=True)
    )
    for piece, kept in pieces:
        for value in np.unique(piece[piece > 0]):
            parts, _ = ndimage.label(piece == value)
            kept[parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())] = value
    return found


def save_mask(path: Path, mask: np.ndarray, affine: np.ndarray) -> None:
    """As nibabel writes it."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(mask, affine), path)


def cases_of(folder: Path) -> Iterator[Path]:
    """NIfTI files, ordered by name."""
    yield from sorted(folder.glob("*.nii.gz"))


def main() -> None:
    """Segment a folder; with ``--timed`` a second one, of which the time is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prepared", action="store_true")
    parser.add_argument("--timed", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    task = yaml.safe_load((given.release / "task.yaml").read_text(encoding="utf-8"))
    network = network_of(given.release, task)
    given.out.mkdir(parents=True, exist_ok=True)
    one = by_radfed(given.release, task, network, given.out) if given.prepared else by_transforms(
        task, network, given.out
    )  # fmt: skip
    for path in cases_of(given.cases):
        one(path)
    if given.timed:
        cases = list(cases_of(given.timed))
        started, used = time.perf_counter(), time.process_time()
        for path in cases:
            one(path)
        seconds, used = time.perf_counter() - started, time.process_time() - used
        # Not ``ru_maxrss``, which counts what the parent held.
        peak = int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024
        print(json.dumps({"cases": len(cases), "seconds": seconds, "cpu_seconds": used, "peak_mib": peak}))


if __name__ == "__main__":
    main()
