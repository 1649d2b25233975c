"""Files that are complete or not there."""

import csv
import io
import os


def write_atomically(file, text):
    """Writes a text file that is either complete or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f'.{file.name}.partial')
    partial.write_text(text, 'utf-8')
    os.replace(partial, file)


def write_table(file, rows):
    """Writes rows (dicts with the same keys) as CSV, complete or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, text.getvalue())
