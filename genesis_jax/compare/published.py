"""The numbers that Models Genesis publish for their seven target tasks: facts to stand beside ours.

Mean and sd of ten runs in per cent, all labels. Whole networks, fine-tuned. Each number says in
which edition and where in it, for they differ: Zhou and others, MICCAI 2019, with the slides of the
talk; its longer version in Medical Image Analysis 67 (2021); TransVW: Haghighi and others, IEEE TMI
40 (2021). `mean_iou_paper` is what they call IoU.

The published p-values are those of `PUBLISHED_TEST`, which means, sds and n give back; those that
no test gives back are named in `Task.unexplained`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

EDITIONS = {'miccai': 'MICCAI 2019', 'media': 'MedIA 2021', 'tmi': 'TMI 2021'}
PUBLISHED_TEST = "Welch's t-test, one-sided"
RUNS = 10  # of every mean
_3D = ('3D scratch', 'Distortion', 'Painting', 'Unified')
_2D = ('2D scratch', '2D ImageNet', '2D Genesis')
_WHOLE_IMAGES = ('scratch', 'ImageNet', 'Genesis CT 2D', 'Genesis X-ray')
OF_DIMENSIONS = ('2D ImageNet', '3D Genesis')  # the best of each: p_of_dimensions is theirs


@dataclass(frozen=True)
class Published:
    """A published number, and where it stands: a key of EDITIONS; a table, figure or slides."""

    method: str
    mean: float
    sd: float | None
    edition: str
    place: str

    @property
    def source(self) -> str:
        """In words: `MICCAI 2019, table 3`."""
        return EDITIONS[self.edition] + f', {self.place}' * bool(self.place)

    @property
    def fractions(self) -> dict[str, float | None]:
        """Mean and sd as CSV files have them, from 0 to 1."""
        sd = None if self.sd is None else round(self.sd / 100, 6)
        return {'mean': round(self.mean / 100, 6), 'sd': sd}


@dataclass(frozen=True)
class Task:
    """What was published of a task: by metric, and p-values of MICCAI's tables, as written.

    Attributes:
      p: table 2, the best approach against scratch.
      p_of_approaches: table 3, the best against the second best.
      p_of_dimensions: table 4, of OF_DIMENSIONS.
      unexplained: layouts whose p no t-test gives back, one- or two-sided, of equal variances or
        not.
      apart: in what it differs from LUNA16, which Genesis Chest CT restored (MICCAI 2019, table
        2), of disease, organ, dataset, modality; None: not told.
      note: on what is not alike.
    """

    numbers: dict[str, tuple[Published, ...]]
    p: str = ''
    p_of_approaches: str = ''
    p_of_dimensions: str = ''
    unexplained: tuple[str, ...] = ()
    apart: tuple[str, ...] | None = None
    note: str = ''

    def of(self, metric: str, method: str, edition: str) -> Published | None:
        """An edition's number of a method such as `2D ImageNet` or `3D Genesis`, or None.

        Genesis of MICCAI 2019 is the best of its approaches, as in its tables 2 and 4.
        """
        plain = method.removeprefix('2D ').removeprefix('3D ')
        known = [number for number in self.numbers.get(metric, ()) if number.edition == edition]
        by_name = {number.method: number for number in known}
        if method == '2D Genesis':  # without 2D, it is that of 3D
            return by_name.get(method)
        if method == '2D Genesis CT':
            return by_name.get('Genesis CT 2D') or by_name.get('2D Genesis')
        if plain == 'Unified' and not {plain, '3D Unified'} & by_name.keys():
            plain = method = 'Genesis'  # MedIA's, of all corruptions
        approaches = [number for number in known if number.method in _3D[1:]]
        if plain == 'Genesis' and approaches:
            return max(approaches, key=lambda number: number.mean)
        of_3d = None if method.startswith('2D ') else by_name.get(f'3D {plain}')
        return by_name.get(method) or by_name.get(plain) or of_3d


_ON_PATCHES = (
    "Published numbers were measured by the authors' own protocol, on patches; "
    'those measured here, on whole scans.'
)


def _list(
    methods: Sequence[str], numbers: str, place: str, edition: str = 'miccai'
) -> tuple[Published, ...]:
    """Published numbers, written as `mean±sd` or `mean`."""
    parts = (number.partition('±') for number in numbers.split())
    return tuple(
        Published(method, float(mean), float(sd) if sd else None, edition, place)
        for method, (mean, _, sd) in zip(methods, parts, strict=True)
    )


def _later(genesis: str, transvw: str) -> tuple[Published, ...]:
    return _list(['Genesis'], genesis, '', 'media') + _list(['TransVW'], transvw, '', 'tmi')


def _on_slides(numbers: str, other: str) -> tuple[Published, ...]:
    """Genesis, and what another group had reached."""
    return _list(['Genesis', 'best of other groups'], f'{numbers} {other}', 'slides')


TASKS = {
    'ncc': Task(
        {
            'auc': _list(_3D, '94.25±5.07 96.46±1.03 98.20±0.51 97.90±0.57', 'table 3')
            + _later('98.34±0.44', '98.46')
            + _list(['scratch', 'scratch (MSRA)'], '94.25 96.03', '', 'media')
            + _list(_2D, '96.03±0.86 97.79±0.71 97.45±0.61', 'table 4')
            + _list(['Genesis X-ray'], '93.52±0.13', 'figure 2'),
            'luna16_score': _on_slides('97.1', '96.8'),
        },
        p='0.0180',
        apart=(),
        p_of_dimensions='0.0213',
        unexplained=('table4',),
    ),
    'ncs': Task(
        {
            'mean_iou_paper': _list(_3D, '74.05±1.97 77.08±0.68 77.02±0.58 77.62±0.64', 'table 3')
            + _later('77.62±0.64', '77.33')
            + _list(_2D, '70.48±1.07 72.39±0.77 72.20±0.67', 'table 4')
            + _list(['Genesis X-ray'], '72.88±0.79', 'figure 2'),
            'dice': _on_slides('75.86±0.90', '74.05'),
        },
        p='1.04e-4',
        apart=(),
        p_of_dimensions='< 1e-8',
    ),
    'ecc': Task(
        {
            'auc': _list(_3D, '79.99±8.06 88.04±1.40 87.18±2.72 87.20±2.87', 'table 3')
            + _later('87.20±2.87', '87.07')
            + _list(_2D, '71.27±4.64 78.61±3.73 78.58±3.67', 'table 4')
            + _list(['best of other groups'], '87.06', 'slides'),
        },
        p='0.0058',
        apart=('disease', 'dataset'),
        p_of_approaches='0.2102',
        p_of_dimensions='5.5e-4',
        unexplained=('table4',),
    ),
    'lcs': Task(
        {
            'mean_iou_paper': _list(_3D, '74.60±4.57 79.08±4.26 78.62±4.05 79.52±4.77', 'table 3')
            + _later('85.10±2.15', '86.53'),
            'dice': _on_slides('91.13±1.51', '96.60'),
        },
        p='0.0361',
        apart=('disease', 'organ', 'dataset'),
        p_of_approaches='0.425',
        unexplained=('table2',),
        note=_ON_PATCHES,
    ),
    'bms': Task(
        {
            'mean_iou_paper': _list(_3D, '90.16±0.41 90.60±0.20 90.46±0.21 90.59±0.21', 'table 3')
            + _list(['Genesis, BraTS 2018'], '67.96±1.29', '', 'media')
            + _list(['TransVW, BraTS 2018'], '68.82', '', 'tmi'),
            'dice': _on_slides('92.58±0.30', '91.00'),
        },
        p='0.0041',
        apart=('disease', 'organ', 'dataset', 'modality'),
        p_of_approaches='0.428',
        note=_ON_PATCHES,
    ),
    'dxc': Task(
        {'auc': _list(_WHOLE_IMAGES, '69.15±0.77 75.55±0.48 74.99±0.36 75.48±0.13', 'figure 2')}
    ),
    'iuc': Task(
        dict.fromkeys(
            ('auc', 'accuracy'),
            _list(_WHOLE_IMAGES, '92.78±3.71 95.51±1.77 94.50±2.08 94.99±0.93', 'figure 2'),
        ),
        note='The paper calls the published numbers AUC in one place and accuracy in another; they '
        'stand under both here.',
    ),
}
