"""Which cubes and patches of a scan to take."""
