"""DICOM files of which every field is known."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CT, ENHANCED_CT = '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.5.1.4.1.1.2.1'
MR, ENHANCED_MR = '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.5.1.4.1.1.4.1'
AXES = (1, 0, 0, 0, 1, 0)


def dataset(pixels, *, sop=CT, series='1.2.3', instance='1.2.3.1', modality='CT', **tags):
    """A file of stored values [rows, columns] or [frames, rows, columns], uint16 or int16."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = instance
    made.SeriesInstanceUID, made.Modality, made.PatientID = series, modality, 'P1'
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, 'MONOCHROME2'
    made.Rows, made.Columns = pixels.shape[-2:]
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == 'i')
    made.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def single(pixels, position, number=1, *, axes=AXES, spacing=(1, 1), slope=1, intercept=0, **tags):
    """A slice; `spacing` mm between rows, then columns."""
    where = {'ImagePositionPatient': _text(position), 'ImageOrientationPatient': _text(axes)}
    where |= {'PixelSpacing': _text(spacing), 'InstanceNumber': number}
    where |= {'RescaleSlope': slope, 'RescaleIntercept': intercept}
    instance = f'{tags.get("series", "1.2.3")}.{number}'
    return dataset(pixels, instance=instance, **where | tags)


def frames(pixels, positions, *, axes=None, spacing=(1, 1), slopes=None, intercept=0, **tags):
    """An enhanced object, all of whose frames say everything themselves."""
    made = dataset(pixels, **{'sop': ENHANCED_CT} | tags, NumberOfFrames=len(pixels))
    made.PerFrameFunctionalGroupsSequence = Sequence(
        group(
            PlanePositionSequence={'ImagePositionPatient': _text(position)},
            PlaneOrientationSequence={'ImageOrientationPatient': _text(axes[i] if axes else AXES)},
            PixelMeasuresSequence={'PixelSpacing': _text(spacing)},
            PixelValueTransformationSequence={
                'RescaleSlope': slopes[i] if slopes else 1,
                'RescaleIntercept': intercept,
            },
        )
        for i, position in enumerate(positions)
    )
    return made


def group(**sequences):
    """Functional groups: by sequence the values of its one item."""
    item = Dataset()
    for name, values in sequences.items():
        inner = Dataset()
        for keyword, value in values.items():
            setattr(inner, keyword, value)
        setattr(item, name, Sequence([inner]))
    return item


def save(path, made):
    """Writes a file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def _text(numbers):
    return [f'{number:.12g}'[:16] for number in np.ravel(numbers)]


def patient_tags(patient='P1', study='1.2', frame='1.2.9'):
    """What a file says of its patient, study and frame of reference."""
    return {'PatientID': patient, 'StudyInstanceUID': study, 'FrameOfReferenceUID': frame}


def structure_set(rois, series, *, frame='1.2.9', uid='1.2.8', patient='P1', kind='CLOSED_PLANAR'):
    """An RTSTRUCT that refers to a series: contours, each mm [N, 3], by the name of their ROI.

    A contour that is a pair is of a geometric type of its own, (type, points).
    """
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = '1.2.840.10008.5.1.4.1.1.481.3'
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid
    made.SeriesInstanceUID, made.Modality, made.PatientID = f'{uid}.1', 'RTSTRUCT', patient
    named, study, reference = Dataset(), Dataset(), Dataset()
    named.SeriesInstanceUID = series
    study.RTReferencedSeriesSequence = Sequence([named])
    reference.FrameOfReferenceUID = frame
    reference.RTReferencedStudySequence = Sequence([study] if series else [])
    made.ReferencedFrameOfReferenceSequence = Sequence([reference])
    made.StructureSetROISequence, made.ROIContourSequence = Sequence(), Sequence()
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        made.StructureSetROISequence.append(roi)
        drawn.ReferencedROINumber, drawn.ContourSequence = number, Sequence()
        for contour in contours:
            own, points = contour if isinstance(contour, tuple) else (kind, contour)
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = own, len(points)
            item.ContourData = _text(points)
            drawn.ContourSequence.append(item)
        made.ROIContourSequence.append(drawn)
    return made
