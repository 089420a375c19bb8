"""Classic series: one file a slice."""

from pydicom import Dataset

from radfed.imaging.phantom_dicom.header import SeriesContext, common_header, decimal, later
from radfed.imaging.phantom_dicom.slices import Slice
from radfed.imaging.phantom_dicom.storage import Storage, put_pixels


def classic_image(
    context: SeriesContext, piece: Slice, serial: int, storage: Storage, sop_class: str, modality: str
) -> Dataset:
    """General Image, Image Pixel and rescale of one image (PS3.3 C.7.6, C.11.1)."""
    dataset = common_header(context, sop_class, modality, context.instance(serial))
    dataset.InstanceNumber, dataset.AcquisitionNumber = piece.number, piece.acquisition
    dataset.AcquisitionDate = dataset.ContentDate = context.patient.study_date
    dataset.AcquisitionTime = later(context.patient, 60 + 30 * piece.acquisition)
    dataset.ContentTime = later(context.patient, 90 + 30 * piece.acquisition + 0.25 * serial)
    if storage.slope is not None and piece.rescaled:
        dataset.RescaleIntercept, dataset.RescaleSlope = decimal(storage.intercept), decimal(storage.slope)
    put_pixels(dataset, storage.stored(piece.values), storage)
    return dataset


def add_plane(dataset: Dataset, piece: Slice) -> None:
    """Image Plane module (PS3.3 C.7.6.2)."""
    dataset.ImagePositionPatient = [decimal(value) for value in piece.position]
    dataset.ImageOrientationPatient = [decimal(value) for value in piece.orientation]
    dataset.PixelSpacing = [decimal(value) for value in piece.spacing]
    dataset.SliceThickness = decimal(piece.thickness)
