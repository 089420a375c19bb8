"""What no release can prove, however many of its claims hold."""

NOT_PROVABLE = (
    "That the sites' data are what the sites say: patients, labels and dates were never seen by anyone else.",
    "That no other training happened, or no other data went in: the ledger is the server's own record of it.",
    "That the sites ran the code named here: it is the code that built the release.",
    "That a figure was computed rightly from data that stay at a site: what a site signed says who said it.",
    "That figures of a report (evaluation/metrics.json) are of the cases it names: only the sites' signed sums are "
    "followed to what was pooled.",
    "That the model does on patients what it does on the conformance vectors: those are a few made-up cases.",
    "Whose key signed, beyond what you knew before: compare fingerprints with the signer on another way.",
    "That a reader looked at what was signed off, or was competent to: the chain shows who did what in the workbench.",
    "That no attack finds patients in it: an audit tried the attacks that it names, on the cases that it had.",
    "That it is right, safe or fair for other patients, scanners or hospitals than those measured, or for any one "
    "patient.",
)
