"""Other people's tools read a release: MONAI's bundle tools, CycloneDX's validator, RO-Crate's validator."""

import json
import warnings
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from monai.bundle import ConfigParser, create_workflow
from monai.bundle.scripts import run as run_bundle
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

from radfed.release.package import build_release
from radfed.task import OutcomeTask
from radfed.weights import load_weights

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def classifier(
    tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun, make_outcome_task: Callable[[str], OutcomeTask]
) -> Path:
    here = tmp_path_factory.mktemp("classifier")
    return build_release(make_run(here / "run", make_outcome_task("classification")), here / "out")


@pytest.fixture(params=["masks", "classes"])
def release(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue({"masks": "built", "classes": "classifier"}[request.param]))


@pytest.fixture
def _trusted() -> Iterator[None]:
    """MONAI warns of every configuration that it may run code; ours is its builder's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.usefixtures("_trusted")
def test_monai_builds_the_network_loads_the_weights_and_gives_the_stored_logits(release: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(release / "configs" / "inference.json"))
    parser.read_meta(str(release / "configs" / "metadata.json"))
    parser["bundle_root"], parser["device"] = str(release), "cpu"
    network = parser.get_parsed_content("network")
    vectors = load_weights(release / "conformance" / "logits.safetensors")
    expected = vectors.pop("logits")
    with torch.no_grad():
        logits = network(*(torch.from_numpy(array.copy()) for array in vectors.values())).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 1e-3, "logits that are all alike would show nothing"
    form = parser["_meta_#network_data_format#outputs#pred"]
    assert form["num_channels"] == expected.shape[1]


@pytest.mark.usefixtures("_trusted")
def test_monai_runs_the_bundle_and_says_when_the_weights_are_others(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(release)
    run_bundle(config_file="configs/inference.json", workflow_type="inference")
    workflow = create_workflow(
        config_file="configs/inference.json", workflow_type="inference", logging_file=False, device="cpu"
    )
    workflow.initialize()
    with torch.no_grad():
        next(iter(workflow.parser.get_parsed_content("network").parameters())).add_(1.0)
    with pytest.raises(RuntimeError, match="Failed to evaluate") as raised:
        workflow.run()
    assert "not close" in str(raised.value.__cause__)


def test_the_metadata_has_what_monai_requires(release: Path) -> None:
    """By the bundle specification of MONAI 1.6; its JSON schema is downloaded by MONAI and is in no package."""
    content = json.loads((release / "metadata.json").read_text())
    assert content == json.loads((release / "configs" / "metadata.json").read_text())
    for key in ("version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
                "copyright", "network_data_format"):  # fmt: skip
        assert content[key], key
    tensors = (*content["network_data_format"]["inputs"].values(), *content["network_data_format"]["outputs"].values())
    for tensor in tensors:
        assert {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data",
                "channel_def"} <= tensor.keys()  # fmt: skip


def test_cyclonedx_accepts_the_bill(release: Path) -> None:
    text = (release / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"machine-learning-model"', '"thinking-machine"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None
    bill = json.loads(text)
    card = bill["metadata"]["component"]["modelCard"]
    assert [one["name"] for one in card["modelParameters"]["datasets"]] == [
        f"training cases of {site}" for site in ("site-a", "site-b", "site-c")
    ]
    slices = {one.get("slice") for one in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert slices == {None, "site site-a", "site site-b"}
    lines = (release / "training" / "environment.txt").read_text().splitlines()
    assert len([one for one in bill["components"] if one["type"] == "library"]) == len(lines)


@pytest.mark.parametrize("profile", ["ro-crate-1.1", "process-run-crate-0.5"])
def test_rocrate_validator_accepts_the_crate(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    """Every required check, offline.

    The validator would download the JSON-LD context; it is given the one in the ``rocrate`` package, which is that of
    a later version and holds all its terms. Nothing else is asked of the network.
    """
    context = files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()

    def get(self: HttpRequester, url: str, **options: object) -> requests.Response:
        del self, options
        assert url == CONTEXT, f"asked the network for {url}"
        answer = requests.Response()
        answer.status_code, answer._content = 200, context
        answer.headers["Content-Type"] = "application/ld+json"
        return answer

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)
    settings = services.ValidationSettings(
        rocrate_uri=str(built),
        profile_identifier=profile,
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=tmp_path / "cache",
        skip_availability_check=True,
    )
    found = services.validate(settings)
    problems = [f"{issue.check.identifier}: {issue.message}" for issue in found.get_issues(models.Severity.REQUIRED)]
    assert problems == []
