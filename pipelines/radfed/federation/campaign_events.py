"""What a campaign's driver tells while it works, beside the lines of the ledger."""

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from radfed.ledger import Line
from radfed.settings import Settings

What = Literal[
    "begun",
    "waiting_for_sites",
    "waiting_for_approval",
    "without_sites",
    "submitted",
    "link_ended",
    "aborting",
    "server_unreachable",
    "server_back",
    "fetched",
    "stopped",
]


class CampaignEvent(Settings):
    """Something that happened to the chain of FLARE jobs."""

    event: Literal["campaign"] = "campaign"
    what: What
    campaign: str
    link: int | None = Field(default=None, description="Which submission of this driver's")
    job_id: str | None = Field(default=None, description="FLARE's")
    sites: tuple[str, ...] = Field(default=(), description="Sites that it is about")
    reason: str | None = Field(default=None, description="A code")
    detail: str | None = Field(default=None, description="For people")


OnEvent = Callable[[CampaignEvent | Line], None]


def words(event: CampaignEvent) -> str:
    """An event in plain words."""
    # Not "link": those the server counts, and a submission that no site took never became one.
    sites, link = ", ".join(event.sites), f"submission {event.link}" if event.link else "this"
    detail = f": {event.detail}" if event.detail else ""
    match event.what:
        case "begun":
            return f"campaign {event.campaign}; required sites: {sites}"
        case "waiting_for_sites":
            return f"waiting for sites to connect; there: {sites or 'none'}{detail}"
        case "waiting_for_approval":
            return f"waiting for {sites}: {_remedy(event.reason, event.detail)}"
        case "without_sites":
            return f"going on without {sites}{detail}"
        case "submitted":
            return f"{link} is FLARE job {event.job_id}"
        case "link_ended":
            return f"{link} ended: {event.reason}{detail}"
        case "aborting":
            return f"{link} is aborted: {event.reason}"
        case "server_unreachable":
            return f"the server cannot be reached, trying again{detail}"
        case "server_back":
            return "the server is back"
        case "fetched":
            return f"results fetched{detail}"
        case "stopped":
            return f"stopped: {event.reason}{detail}"


def _remedy(reason: str | None, digest: str | None) -> str:
    if reason == "no_site":
        return "its startup kit is linked to no site; there, run: radfed site init DIR --kit KIT"
    return f"a person there reviews and approves the job: radfed site approve SITE {digest or ''}".rstrip()
