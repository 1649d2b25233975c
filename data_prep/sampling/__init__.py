"""Which patches of a scan to take."""
