"""Why each DICOM series of a source becomes a case, a channel of one, or nothing. For people at the site."""

from radfed.dataset.dicom_source import DicomSource
from radfed.dataset.pseudonyms import patient_pseudonym
from radfed.imaging.deid.identity import patient_key
from radfed.imaging.dicom.facts import plane, slice_distance, slices
from radfed.imaging.dicom.index import Series
from radfed.settings import Settings
from radfed.task import SegmentationTask


class SeriesLine(Settings):
    """One series. Its description comes from the headers: it stays at the site."""

    patient: str
    series_number: int | None
    description: str
    modality: str
    plane: str
    slices: int
    slice_distance: float | None
    labels: int
    verdict: str


def explain(source: DicomSource, task: SegmentationTask | None, secret: bytes) -> tuple[SeriesLine, ...]:
    """A line a series, patient by patient; nothing is read but headers.

    Args:
        source: an opened source.
        task: whose rules selected.
        secret: of the site, for the patients' pseudonyms.
    """
    verdicts = {one.id: f"passed over: {why}" for one, why in source.selection.passed_over}
    for case in source.selection.cases:
        names = [channel.name for channel in task.channels] if task else ["case"]
        verdicts |= {one.id: f"taken as {name}" for one, name in zip(case.channels, names, strict=True)}
    refused = {(study.patient, study.id): study.error for study in source.selection.refused}
    lines = []
    for one in source.index.series:
        error = refused.get((one.patient, one.study))
        verdict = verdicts.get(one.id, "refused")
        if error is not None:
            verdict = f"refused: {error.reason}: {error}"
        labels = sum(one.id in label.series for label in source.labels)
        lines.append(_line(one, verdict, labels, secret))
    return tuple(sorted(lines, key=lambda line: (line.patient, line.series_number or 0, line.description)))


def _line(series: Series, verdict: str, labels: int, secret: bytes) -> SeriesLine:
    distance = slice_distance(series)
    return SeriesLine(
        patient=patient_pseudonym(secret, patient_key(series.patient, series.study or series.id)),
        series_number=series.number,
        description=series.description,
        modality=series.modality,
        plane=plane(series) or "",
        slices=slices(series),
        slice_distance=None if distance is None else round(distance, 3),
        labels=labels,
        verdict=verdict,
    )
