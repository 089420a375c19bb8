"""A review to try in a browser: scans of known structures, a release that finds them without training, a server."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import uvicorn
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

from radfed import __version__
from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Case, Datalist, Dataset, entry, write_lists
from radfed.imaging.nifti import write_image, write_mask
from radfed.imaging.volume import Volume
from radfed.inference import model as metadata
from radfed.inference.header import INPUT, OUTPUT
from radfed.task import Channel, Label, SegmentationTask, UNetArgs, UNetNetwork, Window
from radfed.validation.workbench.app import make_app
from radfed.validation.workbench.folder import StateFolder
from radfed.validation.workbench.guard import place_of
from radfed.validation.workbench.opening import Choice, open_bench, open_journal
from radfed.validation.workbench.users import add_user, parse_user

SHAPE, SPACING = (40, 44, 32), (1.5, 1.5, 2.0)
ORIGIN = (-30.0, -33.0, -31.0)
LEFT_CENTRE, RIGHT_CENTRE = (11, 20, 15), (28, 24, 15)
"""Voxels, in RAS: the first is at the patient's left."""
GREY = (0.0, 60.0, 120.0)
"""Of the ground, of the structure at the left, and of the one at the right (HU)."""
PASSWORD = "correct horse battery"
USERS = {"anna": "reader", "bela": "reader", "lea": "lead", "aud": "auditor"}

TASK = SegmentationTask(
    name="two_parts",
    description="Finds two parts of a made-up body.",
    intended_use="Trying the software.",
    channels=(Channel(name="image", modality="CT"),),
    labels=(Label(value=1, name="left_part"), Label(value=4, name="right_part")),
    spacing=SPACING,
    intensity=Window(lower=GREY[0], upper=GREY[-1]),
    roi_size=SHAPE,
    network=UNetNetwork(args=UNetArgs(channels=(4, 8), strides=(2,))),
)


def write_release(folder: Path) -> Path:
    """A release whose network gives each voxel the label whose grey is nearest: of levels ``l``, ``2 l x - l^2``."""
    folder.mkdir(parents=True)
    levels = np.array(GREY, dtype=np.float32) / GREY[-1]
    weights = {"levels": (2 * levels).reshape(-1, 1, 1, 1, 1), "squares": -(levels**2)}
    shape: list[str | int | None] = ["batch", 1, "x", "y", "z"]
    graph = helper.make_graph(
        [helper.make_node("Conv", [INPUT, *weights], [OUTPUT], kernel_shape=[1, 1, 1])],
        "nearest_grey",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(GREY), "x", "y", "z"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    said = {
        metadata.TASK_KEY: TASK.model_dump_json(),
        metadata.TASK_DIGEST_KEY: TASK.digest,
        metadata.VERSION_KEY: __version__,
        metadata.FIXED_ROI_KEY: "false",
        metadata.WEIGHTS_KEY: hashlib.sha256(b"".join(value.tobytes() for value in weights.values())).hexdigest(),
    }
    helper.set_model_props(network, said)
    onnx.save(network, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  model.onnx\n", encoding="utf-8")
    return folder


def write_dataset(root: Path, cases: int) -> Path:
    """Scans with a ball at the patient's left and a larger one at the right; each blurred and noisy in its own way."""
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = ORIGIN
    axes = np.ogrid[tuple(slice(0, side) for side in SHAPE)]
    listed: list[Case] = []
    for number in range(cases):
        random = np.random.default_rng(number)
        label = np.zeros(SHAPE, dtype=np.uint8)
        for value, centre, radius in ((1, LEFT_CENTRE, 6), (4, RIGHT_CENTRE, 8)):
            label[sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2] = value
        grey = np.select([label == 1, label == 4], GREY[1:], GREY[0])
        grey = ndimage.gaussian_filter(grey, 0.6 + number / 5) + random.normal(0, 6, SHAPE)
        name = f"case-{number:012x}"
        image = Volume(grey[np.newaxis].astype(np.float32), affine)
        write_image(root / f"images/{name}.nii.gz", image)
        write_mask(root / f"labels/{name}.nii.gz", label, affine)
        listed.append(
            Case(
                id=name, patient=f"pat-{number:012x}", split="test", image=f"images/{name}.nii.gz",
                label=f"labels/{name}.nii.gz", digest=volume_digest(image),
                label_digest=volume_digest(Volume(label[np.newaxis], affine)), size=SHAPE, spacing=SPACING,
                source_orientation="RAS",
            )
        )  # fmt: skip
    datalist = Datalist(
        name=TASK.name, description="made up", site="site-a", task=TASK.name, phantom=True,
        labels={"0": "background", "1": "left_part", "4": "right_part"}, channels={"0": "image"},
        training=(), validation=(), test=tuple(entry(case) for case in listed),
    )  # fmt: skip
    write_lists(root, datalist, tuple(listed), ())
    Dataset.read(root)
    return root


@dataclass
class Served:
    """A workbench that is running.

    Attributes:
        address: of its page.
        ahead: seconds that its clock runs ahead.
    """

    address: str
    ahead: float = 0.0


@contextlib.contextmanager
def serve(folder: Path, cases: int, blinded: bool) -> Iterator[Served]:
    """Open a review as ``radfed workbench`` does and serve it on a free port of loopback."""
    release, dataset, state = (
        write_release(folder / "two_parts-1.0.0"),
        write_dataset(folder / "data", cases),
        folder / "state",
    )
    bench = open_bench(release, dataset, state, Choice(blinded=blinded, seed=3))
    for name, role in USERS.items():
        add_user(open_journal(StateFolder(state)), parse_user(f"{name}:{role}"), PASSWORD)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        served = Served(f"http://127.0.0.1:{port}/")
        bench = replace(bench, clock=lambda: time.time() + served.ahead)
        app = make_app(bench, place_of("127.0.0.1", port, None))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield served
        finally:
            server.should_exit = True
            thread.join(20)
