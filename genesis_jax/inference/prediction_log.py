"""What came of predicting many scans: counted, written as a table, told at the end."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from genesis_jax.errors import ScanError, UserError
from genesis_jax.runs.files import write_table


def check_free(files: Sequence[Path], overwrite: bool) -> None:
    """Raises UserError if one of these results is there and is not to be overwritten."""
    there = [file for file in files if file.exists()]
    if there and not overwrite:
        others = f' (and {len(there) - 1} other results)' if there[1:] else ''
        raise UserError(
            f'{there[0]} exists already{others}; choose another --output or give --overwrite'
        )


@dataclasses.dataclass
class Outcome:
    """The results of some scans.

    Attributes:
      table: the CSV file of the rows.
      rows: one a scan or a candidate.
      scans: predicted.
      skipped: why the others were not, by what a user looks for.
      lines: what else the closing summary says.
      called: what the scans are called there.
      members: the networks; several are a column of the table.
    """

    table: Path
    rows: list[dict] = dataclasses.field(default_factory=list)
    scans: int = 0
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    lines: list[str] = dataclasses.field(default_factory=list)
    called: str = 'scans'
    members: Sequence[str] = ()
    started: float = dataclasses.field(default_factory=time.perf_counter)

    def write(self) -> None:
        """Writes the table as it is now."""
        own = {'members': ';'.join(self.members)} if len(self.members) > 1 else {}
        write_table(self.table, [row | own for row in self.rows])

    def remark(self, shown: str, told: Sequence[str]) -> None:
        """Keeps what scans were remarked on (`errors.collected_remarks`) for the summary."""
        self.lines += [f'{shown} {text}' for text in told]

    def skip(self, shown: str, error: Exception | str) -> None:
        """Counts a scan that failed with an exception, or for a reason in words.

        Raises:
          UserError: it was the device, whose memory would not be enough for the next one either.
        """
        if isinstance(error, jax.errors.JaxRuntimeError) and 'RESOURCE_EXHAUSTED' in str(error):
            raise UserError('the device is out of memory; use a smaller --batch_size') from None
        if isinstance(error, MemoryError):
            error = 'needs more memory than there is'
        elif isinstance(error, Exception) and not isinstance(error, ScanError):
            words = ' '.join(str(error).split())
            error = f'failed unexpectedly ({type(error).__name__}: {words})'
        self.skipped[shown] = str(error)

    def text(self) -> str:
        """The closing summary."""
        seconds = time.perf_counter() - self.started
        called = self.called.capitalize()
        counts = f'{called} predicted: {self.scans}, skipped: {len(self.skipped)}, {seconds:.1f} s'
        skipped = [f'  {shown} {reason}' for shown, reason in sorted(self.skipped.items())]
        none = f'No {self.called.removesuffix("s")} is left: nothing was written.'
        closing = f'Table: {self.table}' if self.scans else none
        return '\n'.join([counts, *self.lines, *(['Skipped:'] * bool(skipped)), *skipped, closing])
