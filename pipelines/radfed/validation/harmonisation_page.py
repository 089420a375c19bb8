"""The harmonisation report: one HTML file that says which site lies far from the others, and in what."""

from datetime import UTC, datetime
from pathlib import Path

from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Fingerprint
from radfed.files import put_text
from radfed.validation import harmonisation_figures as figures
from radfed.validation.harmonisation import Distance, by_site, distances
from radfed.validation.sections import render_page
from radfed.validation.wording import listed

REPORT = "harmonisation.html"

_UNITS = {names.SPACING: "mm", names.SIZE: "voxels", names.INTENSITY: "intensity", names.FOREGROUND: "intensity"}
_MOST_ROWS = 60


def write_harmonisation(fingerprint: Fingerprint, out: Path) -> Path:
    """Write ``harmonisation.html`` into a folder.

    Returns:
        The file.
    """
    out.mkdir(parents=True, exist_ok=True)
    put_text(out / REPORT, render(fingerprint, datetime.now(UTC)))
    return out / REPORT


def render(fingerprint: Fingerprint, created: datetime) -> str:
    """The page; it refers to nothing outside itself."""
    found = distances(fingerprint)
    shown = [distance for distance in found if distance.verdict != "alike"]
    ranked = {site: by_site(found).get(site, 0.0) for site in (*by_site(found), *fingerprint.sites)}
    about = list(dict.fromkeys(distance.about for distance in found))
    values = [name for name in about if name in fingerprint.pooled.values]
    groups = [name for name in about if name in fingerprint.pooled.groups]
    drawn = [figures.histograms(fingerprint, name, _UNITS.get(name.partition(".")[0], "")) for name in values]
    bars = [figures.shares(fingerprint, name) for name in groups if name != names.SCANNER]
    content = {
        "task": fingerprint.task,
        "created": created.strftime("%Y-%m-%d %H:%M UTC"),
        "sites": _sites(fingerprint, ranked),
        "sentences": _sentences(found, ranked),
        "refused": fingerprint.refused,
        "overview": figures.overview(found, list(ranked)),
        "rows": [(figures.title(distance.about), distance) for distance in shown[:_MOST_ROWS]],
        "alike": len(found) - len(shown),
        "histograms": [picture for picture in drawn if picture],
        "bars": [picture for picture in bars if picture],
        "scanners": {site: own.groups.get(names.SCANNER, {}) for site, own in fingerprint.sites.items()},
        "digest": fingerprint.task_digest,
        "version": fingerprint.radfed_version,
    }
    return render_page("harmonisation.html.j2", content)


def _sites(fingerprint: Fingerprint, ranked: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """Name, training cases, GPU and distance, the farthest first."""
    rows = []
    for site, excess in ranked.items():
        own = fingerprint.sites[site]
        cases = own.groups.get(names.SPLIT, {}).get("training")
        memory = f"{own.gpu_memory:g} GiB" if own.gpu_memory else "not told"
        rows.append((site, str(cases) if cases else "not told", memory, f"{excess:.2f}"))
    return rows


def _sentences(found: tuple[Distance, ...], ranked: dict[str, float]) -> list[str]:
    """What to look at, the worst first."""
    said = []
    for site in ranked:
        far = [d for d in found if d.site == site and d.verdict == "far" and d.about != names.SCANNER]
        if far:
            what = listed([figures.title(distance.about) for distance in far[:4]])
            more = f" and {len(far) - 4} more" if len(far) > 4 else ""
            said.append(
                f"{site} lies far from the others in {what}{more}; foremost {figures.title(far[0].about)}: "
                f"{far[0].here} here, {far[0].elsewhere} elsewhere."
            )
    stray = {d.site for d in found if d.verdict == "far" and d.about != names.SCANNER}
    calm = [site for site in ranked if site not in stray]
    if calm:
        said.append(f"{listed(calm)}: nothing lies far from the other sites.")
    return said
