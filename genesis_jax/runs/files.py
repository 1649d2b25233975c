"""Files that are complete or not there."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genesis_jax.paths import is_url


def write_atomically(file: Path, content: str | bytes) -> None:
    """Writes a file that is either complete or as before; text in UTF-8."""
    content = content if isinstance(content, bytes) else content.encode()
    if is_url(file):  # an object in a bucket is replaced as a whole, and needs no folder
        file.write_bytes(content)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f'.{file.name}.partial')
    partial.write_bytes(content)
    partial.replace(file)


def write_table(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows (dicts with the same keys) as CSV, complete or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, text.getvalue())
