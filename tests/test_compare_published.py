"""Published numbers: their p-values are those of the test that is named."""

import math

import pytest
from scipy import stats

from genesis_jax.compare.published import EDITIONS, RUNS, TASKS

SCRATCH = {'ncc', 'ncs', 'ecc', 'lcs', 'bms'}


def p_of(better, worse, *, sides=1, equal=False):
    """p of the t-test of two published numbers."""
    test = stats.ttest_ind_from_stats(
        better.mean, better.sd, RUNS, worse.mean, worse.sd, RUNS, equal_var=equal,
        alternative='greater' if sides == 1 else 'two-sided',
    )  # fmt: skip
    return float(test.pvalue)


def pairs():
    """`(table, task, better, worse, published p)` of every published p-value."""
    for name, task in TASKS.items():
        if name not in SCRATCH:
            continue
        numbers = next(iter(task.numbers.values()))
        of_2019 = [number for number in numbers if number.edition == 'miccai']
        scratch, *approaches = of_2019[:4]
        best, second = sorted(approaches, key=lambda number: -number.mean)[:2]
        yield 'table2', name, best, scratch, float(task.p)
        if task.p_of_approaches:
            yield 'table3', name, best, second, float(task.p_of_approaches)
        if task.p_of_dimensions:
            in_2d = task.of(next(iter(task.numbers)), '2D ImageNet', 'miccai')
            yield 'table4', name, best, in_2d, float(task.p_of_dimensions.removeprefix('< '))


@pytest.mark.parametrize(('table', 'task', 'better', 'worse', 'published'), [*pairs()])
def test_published_p_values_are_one_sided_welch(table, task, better, worse, published):
    variants = {
        (sides, equal): p_of(better, worse, sides=sides, equal=equal)
        for sides in (1, 2)
        for equal in (False, True)
    }
    if table in TASKS[task].unexplained:
        assert all(abs(math.log(p / published)) > 0.15 for p in variants.values())
    elif published == 1e-8:
        assert variants[1, False] < 1e-8
    else:  # means and sds are rounded, which tells most where the two are nearly equal
        assert variants[1, False] == pytest.approx(published, rel=0.13)
        closest = min(variants, key=lambda variant: abs(math.log(variants[variant] / published)))
        assert closest[0] == 1


def test_all_published_p_values_were_tried():
    tried = {(table, task) for table, task, *_ in pairs()}
    assert {('table2', task) for task in SCRATCH} <= tried and len(tried) == 11
    assert sum(len(task.unexplained) for task in TASKS.values()) == 3


def test_a_number_says_where_it_stands():
    for task in TASKS.values():
        for numbers in task.numbers.values():
            assert {number.edition for number in numbers} <= EDITIONS.keys()
    ncc = TASKS['ncc']
    assert ncc.of('auc', 'Genesis', 'miccai').mean == 98.20  # the best approach
    assert ncc.of('auc', '3D Genesis', 'media').mean == 98.34
    assert ncc.of('auc', 'scratch', 'miccai').mean == 94.25
    assert ncc.of('auc', '2D scratch', 'miccai').mean == 96.03
    assert TASKS['lcs'].of('mean_iou_paper', '2D scratch', 'miccai') is None
    assert ncc.of('auc', '2D Genesis X-ray', 'miccai').source == 'MICCAI 2019, figure 2'
