"""From what was read to a dataset on disk: drivers, records, summaries."""
