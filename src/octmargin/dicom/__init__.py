"""The case in the hospital's own format: worklist, images, maps, findings and reports as DICOM. See docs/dicom.md.

Its modules need the extra `dicom`, apart from `settings`, `outgoing` and `uids`.
"""
