"""The leakage audit as a page: verdict, table, and the attacks' ROC curves on logarithmic axes."""

from datetime import UTC, datetime
from pathlib import Path

from radfed.files import put_text
from radfed.privacy.leakage_report import RATES, AttackFound, Estimate, Found, Leakage
from radfed.validation.drawing import FAINT, Picture, canvas, colour_of, legend_right, styled, to_picture
from radfed.validation.sections import render_page
from radfed.validation.wording import listed

PAGE = "leakage.html"
_FEW = 100


def write_page(found: Leakage, out: Path) -> Path:
    """Write ``leakage.html`` into a folder.

    Returns:
        The file.
    """
    put_text(out / PAGE, render(found, datetime.now(UTC)))
    return out / PAGE


def render(found: Leakage, created: datetime) -> str:
    """The page; it refers to nothing outside itself."""
    places = {"all sites": found.pooled} if found.pooled else {}
    content = {
        "found": found,
        "created": created.strftime("%Y-%m-%d %H:%M UTC"),
        "rows": [
            _row(place, group, name, attack)
            for place, group in {**places, **found.sites}.items()
            for name, attack in group.attacks.items()
        ],
        "others": listed(found.policy.non_members),
        "policy": [(name.replace("_", " "), _plain(value)) for name, value in found.policy],
        "resolution": _resolution(found),
        "roc": _roc(found.pooled) if found.pooled else None,
    }
    return render_page("leakage.html.j2", content)


def _row(place: str, group: Found, name: str, attack: AttackFound) -> dict[str, object]:
    hits = attack.true_positives
    return {
        "place": place,
        "attack": name + (" (best)" if name == group.best else ""),
        "members": group.members,
        "others": group.others,
        "auc": (f"{attack.auc.value:.3f}", _span(attack.auc, 3)),
        "hits": (
            f"{'at most ' if hits.at_most else ''}{hits.rate.value:.1%}",
            f"{hits.rate.low:.1%} to {hits.rate.high:.1%}",
        ),
        "chance": f"{hits.by_chance:.1%}",
        "allowed": f"{hits.false_positives} of {group.others}",
        "gap": (f"{attack.gap.value:+.3f}", _span(attack.gap, 3)),
    }


def _span(estimate: Estimate, digits: int) -> str:
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _resolution(found: Leakage) -> str:
    """What the number of non-members lets one say of low false-positive rates."""
    if found.pooled is None:
        return ""
    few = [site for site, group in found.sites.items() if group.others < _FEW]
    rate = found.policy.false_positive_rate
    said = f"{found.pooled.others} non-members show false-positive rates in steps of {1 / found.pooled.others:.2%}."
    if few and rate <= 1 / _FEW:
        said += (
            f" With fewer than {_FEW} non-members ({listed(few)}) a rate of {rate:.0%} means no false positive at all, "
            "and the true rate of such a threshold may be several per cent: read the true positives beside chance."
        )
    return said


def _roc(pooled: Found) -> Picture:
    """True against false positives of every attack, both on logarithmic axes (Carlini et al. 2022)."""
    colours = colour_of(tuple(pooled.attacks))
    least = max(1 / pooled.members, 1e-3)
    with styled():
        figure = canvas(4.8, 3.6)
        axes = figure.add_subplot()
        axes.plot(RATES, RATES, color=FAINT, linewidth=1, label="chance")
        for name, attack in pooled.attacks.items():
            axes.plot(RATES, [max(rate, least) for rate in attack.curve], color=colours[name], label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(max(1 / pooled.others, RATES[0]) / 2, 1)
        axes.set_ylim(least, 1)
        axes.set_xlabel("False-positive rate")
        axes.set_ylabel("True-positive rate")
        axes.grid()
        legend_right(axes)
        caption = (
            "Each site at its own threshold, weighted by members. Through runs of at least three patients of a kind, "
            "so fine steps are smoothed."
        )
        return to_picture(figure, f"ROC curves of {', '.join(pooled.attacks)} on logarithmic axes.", caption)
