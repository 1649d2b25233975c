"""Files to arrays and back: scans, DICOM, geometry, images, points. No JAX."""
