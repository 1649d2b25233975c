"""One image under two names: told by its voxels in LPS, whatever its file, format and spacing."""

from collections.abc import Sequence
from dataclasses import replace

from data_prep.types import Job, Result, listed
from genesis_jax.errors import PrepareError


class Duplicates:
    """The images so far: whose each is, and how it is labelled.

    An image of two patients could leak from training into the test; one of two labels teaches and
    tests nothing. Without labels, an image that a patient has twice is kept once, too; with
    labels, which may differ, both are kept, and that is told.

    Args:
      skip: an image that two patients have is kept once, instead of refused.
      table: that labels every image; empty: none does.
      classes: names by class index; none without labels.
    """

    def __init__(self, skip: bool, table: str, classes: Sequence[str]) -> None:
        self._skip, self._table, self._classes = skip, table, classes
        self._first: dict[bytes, tuple[Job, str]] = {}
        self._clashes: list[str] = []

    def add(self, job: Job, result: Result) -> Result:
        """Takes note of an image; its result, which says so if it was there before.

        Raises:
          PrepareError: another patient has the same, and it is not to be skipped.
        """
        if not result.identity:
            return result
        held = [self._classes[index] for patch in result.patches for index in patch.held]
        label = '|'.join(held) or 'nothing'
        first, other = self._first.setdefault(result.identity, (job, label))
        if self._table and label != other:
            self._clashes.append(
                f'{first.shown} and {job.shown} hold one image, labelled {other} and {label}'
            )
        if first is job:
            return result
        if first.patient == job.patient:
            if self._classes:
                same = f'holds the same image as {first.shown}, of the same patient; both are kept'
                return replace(result, told=[*result.told, same])
            return replace(result, reason=f'holds the same image as {first.shown}, which is kept')
        if self._skip:
            same = f'holds the same image as {first.shown}, of patient {first.patient}'
            return replace(result, reason=same)
        raise PrepareError(
            f'{first.shown} and {job.shown} hold the same image, but count as two patients '
            f'({first.patient}, {job.patient}), so a network may be tested on what it learned '
            'from; remove one of them'
        )

    def check(self) -> None:
        """To be called at the end, so that all images of two labels are named at once.

        Raises:
          PrepareError: the table labels an image in two ways.
        """
        if self._clashes:
            raise PrepareError(f'{self._table}: {listed(self._clashes)}; correct it')
