"""One image under two names: told by its voxels, whatever its file, its format and its geometry."""

from data_prep.types import listed
from genesis_jax.errors import PrepareError


class Owners:
    """Whose each image is: one that is two patients' may be trained on and tested on."""

    def __init__(self):
        self._first: dict[bytes, tuple[str, str]] = {}

    def find_other(self, identity: bytes, patient: str, shown: str) -> tuple[str, str] | None:
        """Takes note of an image; the other patient who has the same, and as what it is shown.

        An empty identity is nobody's.
        """
        if not identity:
            return None
        first = self._first.setdefault(identity, (patient, shown))
        return first if first[0] != patient else None

    def check(self, identity: bytes, patient: str, shown: str) -> None:
        """Takes note of an image.

        Raises:
          PrepareError: another patient has the same.
        """
        if other := self.find_other(identity, patient, shown):
            owner, first = other
            raise PrepareError(
                f'{first} and {shown} hold the same image, but count as two patients ({owner}, '
                f'{patient}), so a network may be tested on what it learned from; remove one of '
                'them'
            )


class Labels:
    """How each image is labelled: one that is labelled in two ways teaches and tests nothing."""

    def __init__(self):
        self._first: dict[bytes, tuple[str, str]] = {}
        self._clashes: list[str] = []

    def note(self, identity: bytes, label: str, shown: str) -> None:
        """Takes note of an image."""
        first, other = self._first.setdefault(identity, (label, shown))
        if first != label:
            self._clashes.append(
                f'{other} and {shown} hold one image, labelled {first} and {label}'
            )

    def check(self, table: str) -> None:
        """To be called at the end, so that all are named at once.

        Raises:
          PrepareError: the table labels an image in two ways.
        """
        if self._clashes:
            raise PrepareError(f'{table}: {listed(self._clashes)}; correct it')


def same_image(patient: str, shown: str) -> str:
    """Why a copy of an image of another patient is skipped: a clause that continues its name."""
    return f'holds the same image as {shown}, of patient {patient}'
