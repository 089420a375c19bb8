"""Is the kit's certificate good: signed by the federation's CA, for this site, and for how much longer."""

from datetime import datetime
from pathlib import Path

from radfed.errors import InvalidInputError
from radfed.site.doctor.certificates import (
    KitCertificates,
    begins_in,
    common_name,
    days_left,
    fingerprint,
    is_signed_by,
)
from radfed.site.doctor.findings import Finding, failed, passed, warned

SOON = 60
"""Days before the end of a certificate from which the doctor warns; FLARE's last 360."""

_RENEW = "ask the federation's engineer for a renewed kit of this site"


def check_kit(kit: Path, kit_site: str, site: str, now: datetime) -> list[Finding]:
    """Findings on the site's own certificate, key and name.

    Args:
        kit: the startup kit.
        kit_site: the site's name in the kit.
        site: the site's name in ``site.yaml``.
        now: this machine's time, UTC.
    """
    try:
        found = KitCertificates.read(kit)
    except InvalidInputError as error:
        return [failed("certificate", str(error), "unpack the startup kit again, complete and as it came")]
    return [_chain(found), _names(found, kit_site, site), _expiry(found, now)]


def _chain(found: KitCertificates) -> Finding:
    own, root = found.own, found.root
    if not is_signed_by(own, root):
        issuer, wanted = common_name(own.issuer), f"{common_name(root.subject)} (key {fingerprint(root)})"
        return failed(
            "certificate",
            f"another CA: client.crt was signed by {issuer}, but not by the key of this federation's {wanted}",
            "take client.crt, client.key and rootCA.pem from one and the same kit of this federation",
        )
    if not found.key_matches:
        return failed(
            "certificate",
            "client.key does not belong to client.crt",
            "take both from the same kit; after a renewal, from the newest one",
        )
    return passed("certificate", f"signed by {common_name(root.subject)} (key {fingerprint(root)}), and the key fits")


def _names(found: KitCertificates, kit_site: str, site: str) -> Finding:
    certified = common_name(found.own.subject)
    if certified == kit_site == site:
        return passed("identity", f"{site} in the certificate, in the kit and in site.yaml")
    return failed(
        "identity",
        f"names differ: certificate {certified!r}, kit {kit_site!r}, site.yaml {site!r}",
        "use this site's own kit, or set the name in site.yaml to that in the certificate",
    )


def _expiry(found: KitCertificates, now: datetime) -> Finding:
    for what, certificate in (("client.crt", found.own), ("rootCA.pem", found.root)):
        wait, left = begins_in(certificate, now), days_left(certificate, now)
        first, last = (
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}",
            f"{certificate.not_valid_after_utc:%Y-%m-%d}",
        )
        if wait > 0:
            return failed(
                "expiry", f"{what} is not yet valid: it begins at {first} UTC", "set this machine's clock (NTP)"
            )
        if left < 0:
            return failed("expiry", f"{what} expired on {last}, {-left:.0f} days ago", _RENEW)
        if left < SOON:
            return warned("expiry", f"{what} expires on {last}, in {left:.0f} days", _RENEW)
    left = min(days_left(found.own, now), days_left(found.root, now))
    return passed("expiry", f"client.crt is valid until {found.own.not_valid_after_utc:%Y-%m-%d}; {left:.0f} days left")
