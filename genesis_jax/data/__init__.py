"""From datasets on disk to host batches."""
