"""A trained network on batches, whole scans, points and images."""
