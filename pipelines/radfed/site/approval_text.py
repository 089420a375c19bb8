"""A job's facts in plain sentences, for the person who decides."""

from rich.filesize import decimal

from radfed.job import ReleaseQuestion
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.site.approval_facts import JobFacts

_IN_WORDS = {
    "cases": "the number of training cases",
    "loss": "the mean loss",
    "train_seconds": "the seconds of training",
    "evaluation_seconds": "the seconds of measuring",
    "metric_cases": "their number",
    "restarts": "how often the trainer was started again",
    "optimiser": "whether it could go on from the round before",
    "privacy": "the privacy spent, if the job has any",
}


def sentences(facts: JobFacts) -> list[tuple[str, str]]:
    """What a job would do here, as pairs of a question and its answer."""
    if facts.settings.purpose == "fingerprint":
        return [*_described(facts), *_always(facts)]
    if facts.settings.release is not None:
        return [*_asked(facts, facts.settings.release), *_always(facts)]
    words = _IN_WORDS | {"metric": f"the {facts.settings.task.measure.words} over the cases to measure on"}
    numbers = "; ".join(words.get(name, plain(name)) for name in facts.metrics)
    sent = f"the weights of the network after training{_size(facts.bytes_a_round)}; {numbers}"
    return [
        ("What is trained", _trained(facts)),
        ("For what", plain(facts.description)),
        ("On which data of ours", _data(facts)),
        (
            "How often",
            f"{facts.rounds} rounds, each of {facts.local_steps} training steps on this site's computer; "
            f"{plain(facts.algorithm)}.",
        ),
        ("What leaves in each round", f"{sent}. No image, no label and no value of a single case."),
        ("What hides a single patient", _hidden(facts)),
        ("How much in all", _total(facts)),
        *_always(facts),
    ]


def _described(facts: JobFacts) -> list[tuple[str, str]]:
    """Of a fingerprint."""
    about = ", ".join(plain(name) for name in facts.metrics)
    size = _size(facts.bytes_in_all)
    return [
        ("What is done", f"The data for task {facts.task} are described (job {facts.job}). Nothing is trained."),
        ("For what", plain(facts.description)),
        ("On which data of ours", _data(facts)),
        (
            "What leaves, once",
            f"numbers of cases, sums, deviations and histograms{size} of: {about}; names of scanners; what site.yaml "
            "states of the GPU. No image, no value of a single case, and no count of fewer patients than statistics."
            "min_count in site.yaml.",
        ),
    ]


_QUESTIONS = {
    "validation": (
        "scored on our cases of the split {split!r}",
        "sums of scores and of their squares, numbers of cases and patients, right and wrong answers, an area under "
        "the ROC curve, and numbers of patients by range of probability",
    ),
    "leakage": (
        "attacked with our cases: can it be told who of our patients it was trained on",
        "areas under the ROC curve of each attack, means, and numbers of patients by rank",
    ),
}


def _asked(facts: JobFacts, release: ReleaseQuestion) -> list[tuple[str, str]]:
    """Of a question about a release."""
    what, told = _QUESTIONS[facts.settings.purpose]
    return [
        (
            "What is done",
            f"A released model is {what.format(split=release.split)} (job {facts.job}, task {facts.task}). Nothing is "
            "trained, and the job brings no model.",
        ),
        ("Which release", f"{plain(release.name)}, digest {release.digest}, weights {release.weights[:16]}."),
        ("For what", plain(facts.description)),
        ("On which data of ours", _data(facts)),
        (
            "What leaves, once",
            f"{told}{_size(facts.bytes_in_all)} at most, and the digest of the dataset, signed with our startup kit's "
            f"key. No image, no value of a single case, and no number of fewer than {LEAST_PATIENTS} patients.",
        ),
    ]


def _always(facts: JobFacts) -> list[tuple[str, str]]:
    """Of a job of any purpose."""
    return [
        ("Through which filters of ours", _filters(facts)),
        ("By which code", f"radfed {plain(facts.radfed_version)}, source {facts.code[:16]}; the job brings no code."),
        ("Who submitted it", plain(facts.submitter) if facts.submitter else "Nobody yet, or the server did not say."),
        ("Campaign", plain(facts.campaign) if facts.campaign else "None: a single run."),
        ("Digest", facts.digest),
        *(("Approved before, but changed since", plain(change)) for change in facts.changed),
    ]


def plain(text: str) -> str:
    """Text that came from outside, without control characters: it must not steer the reader's terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _trained(facts: JobFacts) -> str:
    count = "" if facts.parameters is None else f" of {facts.parameters:,} numbers"
    labels = ", ".join(plain(label) for label in facts.labels)
    return f"A {facts.network} network{count} that finds {labels} (job {facts.job}, task {facts.task})."


def _data(facts: JobFacts) -> str:
    if facts.data is None:
        return "None: site.yaml names no dataset, so the job cannot train here."
    data = facts.data
    return (
        f"{data.training} cases to train on, {data.validation} to measure on in each round, {data.test} to test the "
        f"final model on. Dataset {data.digest[:16]}."
    )


def _size(size: int | None) -> str:
    return " (size unknown)" if size is None else f" ({decimal(size)})"


def _hidden(facts: JobFacts) -> str:
    """Of the job's differential privacy."""
    given = facts.settings.job.training.privacy
    if given is None:
        return "Nothing: the job trains without differential privacy."
    noise = "chosen by the budget" if given.noise_multiplier is None else f"{given.noise_multiplier:g} times as strong"
    budget = "without a budget" if given.epsilon is None else f"with a budget of epsilon {given.epsilon:g}"
    return (
        f"Differential privacy of each training patient, {budget} at delta {given.delta:g}: what one patient adds to a "
        f"step is cut to {given.max_grad_norm:g} and hidden in noise, {noise}. Scores on cases to measure on are sent "
        "as they are."
    )


def _total(facts: JobFacts) -> str:
    if facts.bytes_in_all is None:
        return "Unknown: the size of the network could not be counted."
    return f"About {decimal(facts.bytes_in_all)} in {facts.rounds} rounds; a round that fails is sent again."


def _filters(facts: JobFacts) -> str:
    if facts.filters is None:
        return "None are known: the startup kit has no privacy policy that can be read."
    return "; ".join(plain(name) for name in facts.filters) or "None."
