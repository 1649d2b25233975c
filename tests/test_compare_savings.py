"""Labels saved: where the baseline's curve reaches the same score."""

from types import SimpleNamespace

import numpy as np
import pytest
from compared import make_workdir

from genesis_jax.compare import runs
from genesis_jax.compare.__main__ import main
from genesis_jax.compare.savings import savings

PATIENTS = [f'p{index}' for index in range(20)]
HARD = np.linspace(-0.1, 0.1, len(PATIENTS))


def curve(scores, seeds=(0,), spread=0.0):
    """A method's curve: these mean scores by label fraction, of as many runs as seeds."""
    rng = np.random.default_rng(0)
    workdir = SimpleNamespace(parts=[SimpleNamespace(seed=seed) for seed in seeds])
    return {
        fraction: (
            workdir,
            [runs.Tested(PATIENTS, score + HARD + rng.normal(0, spread)) for _ in seeds],
        )
        for fraction, score in scores.items()
    }


def line(fraction):
    """Two points more for each doubling of the labels."""
    return 0.8 + 0.02 * np.log2(fraction)


def test_a_curve_that_is_ahead_by_a_doubling_saves_half_of_the_labels():
    shares = (0.05, 0.1, 0.2, 0.4)
    curves = {
        'scratch': curve({share: line(share) for share in (*shares, 0.8)}),
        'Genesis': curve({share: line(2 * share) for share in shares}),
        'worse': curve({share: line(share / 2) for share in shares[1:]}),
    }
    found = savings(curves, 'scratch', draws=50, seed=0)
    assert [saving.method for saving in found] == ['Genesis'] * 4 + ['worse'] * 3
    for saving in found[:4]:
        assert saving.share == pytest.approx(0.5)
        assert saving.low == pytest.approx(0.5) and saving.high == pytest.approx(0.5)
        assert not saving.at_least and not saving.at_most
    for saving in found[4:]:
        assert saving.share == pytest.approx(-1)


def test_beyond_the_curve_the_saving_is_a_bound():
    curves = {
        'scratch': curve({0.1: 0.7, 1.0: 0.8}),
        'Genesis': curve({0.1: 0.85, 0.05: 0.65}),
    }
    below, above = savings(curves, 'scratch', draws=20, seed=0)
    assert (below.label_fraction, below.at_most, below.at_least) == (0.05, True, False)
    assert below.share == pytest.approx(0.5)
    assert (above.label_fraction, above.at_most, above.at_least) == (0.1, False, True)
    assert above.share == pytest.approx(0.9)


def test_a_dip_of_the_baseline_counts_as_no_gain():
    curves = {
        'scratch': curve({0.1: 0.7, 0.2: 0.6, 0.4: 0.8}),
        'Genesis': curve({0.1: 0.75}),
    }
    (saving,) = savings(curves, 'scratch', draws=20, seed=0)
    assert saving.share == pytest.approx(1 - 0.1 / 0.2**0.5 / 0.4**0.5)


def test_runs_that_differ_widen_the_interval():
    shares = (0.1, 0.2, 0.4)
    narrow, wide = (
        savings(
            {
                'scratch': curve({share: line(share) for share in shares}, range(5), spread),
                'Genesis': curve({0.1: line(0.2)}, range(5), spread),
            },
            'scratch',
            draws=400,
            seed=0,
        )[0]
        for spread in (0.001, 0.01)
    )
    assert narrow.high - narrow.low < 0.2 < wide.high - wide.low


def test_one_share_of_the_labels_makes_no_curve():
    curves = {'scratch': curve({1.0: 0.8}), 'Genesis': curve({1.0: 0.9})}
    assert savings(curves, 'scratch', draws=20, seed=0) == []


def test_the_comparison_shows_what_is_saved(tmp_path, capsys):
    folders, names = [], []
    for method, ahead in (('scratch', 1), ('Genesis', 2)):
        for share in (0.1, 0.2, 0.4):
            folder = tmp_path / f'{method}_{share}'
            folders += [make_workdir(folder, fraction=share, skill=line(ahead * share))]
            names += [method]
    options = [f'--names={",".join(names)}', f'--out={tmp_path / "out"}', '--draws=50']
    assert main([*map(str, folders), *options]) == 0
    text = (tmp_path / 'out/comparison.md').read_text()
    rows = text.split('## Labels saved')[1].split('| Genesis | ')[1:]
    assert len(rows) == 2 and rows[0].startswith('10 % | +')
    assert (tmp_path / 'out/comparison.csv').read_text().count('labels_saved') == 2


def test_the_smallest_share_that_reaches_the_score_counts():
    """On a plateau of the baseline, and where both are equal."""
    curves = {
        'scratch': curve({0.1: 0.7, 0.5: 0.8, 1.0: 0.8}),
        'Genesis': curve({0.1: 0.8, 0.5: 0.8, 1.0: 0.8}),
    }
    tenth, half = savings(curves, 'scratch', draws=20, seed=0)  # with all labels there is no row
    assert tenth.share == pytest.approx(0.8) and half.share == pytest.approx(0, abs=1e-9)


def test_the_interval_covers_as_often_as_it_says():
    """Of curves with known means; the bootstrap of five runs alone would cover 87 %."""
    shares, covered = (0.05, 0.1, 0.2, 0.4, 0.8), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        curves = {
            name: {
                share: (
                    SimpleNamespace(parts=[SimpleNamespace(seed=run) for run in range(5)]),
                    [
                        runs.Tested(PATIENTS, line(ahead * share) + rng.normal(0, 0.008, 1) + HARD)
                        for _ in range(5)
                    ],
                )
                for share in some
            }
            for name, ahead, some in (('scratch', 1, shares), ('Genesis', 2, (0.1,)))
        }
        (saving,) = savings(curves, 'scratch', draws=200, seed=seed)
        covered.append(saving.low <= 0.5 <= saving.high)
    assert 0.89 <= np.mean(covered) <= 0.99
