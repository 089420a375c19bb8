"""``privacy.json``: the largest that each site said, accepted or not, and the worst of the sites."""

from radfed.job import Job, find_job
from radfed.ledger import PrivacySpent, SiteLine
from radfed.privacy.spent import PrivacyRecord


def job(privacy: dict[str, float] | None) -> Job:
    content = find_job("heart_disease_tabular").model_dump(mode="json")
    content["job"]["training"]["privacy"] = privacy
    return Job.check(content, "test")


def line(site: str, number: int, epsilon: float | None, *, accepted: bool = True) -> SiteLine:
    spent = None
    if epsilon is not None:
        spent = PrivacySpent(
            epsilon=epsilon, delta=1e-5, noise_multiplier=1.0, max_grad_norm=1.0, sampling_rate=0.1, steps=5 * number
        )
    return SiteLine(round=number, site=site, answered=True, accepted=accepted, privacy=spent)


def test_the_largest_of_each_site_counts_whether_it_was_accepted_or_not() -> None:
    lines = [line("a", 1, 1.0), line("b", 1, 3.0), line("a", 2, 2.0, accepted=False), line("b", 2, None)]
    record = PrivacyRecord.of(job({"epsilon": 8.0}), lines)
    assert record is not None
    assert {site: spent.epsilon for site, spent in record.sites.items()} == {"a": 2.0, "b": 3.0}
    assert (record.worst_site, record.worst_epsilon, record.budget) == ("b", 3.0, 8.0)
    assert PrivacyRecord.model_validate_json(record.model_dump_json()) == record


def test_a_job_without_privacy_has_no_record() -> None:
    assert PrivacyRecord.of(job(None), [line("a", 1, None)]) is None


def test_a_ledger_line_of_before_has_no_privacy() -> None:
    old = line("a", 1, None).model_dump(mode="json")
    del old["privacy"]
    assert SiteLine.check(old, "old") == line("a", 1, None)
