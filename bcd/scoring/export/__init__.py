"""A scored patient in the formats of other programs: OME-TIFF for QuPath and OMERO, DICOM for a PACS."""
