"""A scored patient as DICOM, for a PACS: the map of patches as a segmentation, their probabilities, and a report.

    slide-5.dcm  segmentation-5.dcm  probability-5.dcm  report.dcm

A segmentation needs an image that it is of. Where the slide was delivered as DICOM, that is the source, which is
named (`--source`) and only referred to. Otherwise the slide is written too, put together of its patches.

**What of a source goes into what is written**: the identifiers of study, series, image and frame of reference, and
where its pixels lie, by a list (`source`). Nothing else of its header is even read. Patient and slide are called as
in the store, so where a hospital's identifiers are replaced, pseudonyms stand in the files.
"""
