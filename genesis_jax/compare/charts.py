"""Plots of a comparison: means with error bars, curves over label fractions.

How many runs (n) a mean rests on, and p, stand below it, in the method's colour.
"""

import io
import math
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genesis_jax.compare.analysis import Comparison, Row
from genesis_jax.compare.tables import factor, title
from genesis_jax.compare.writers import p_value, percent

_COLOURS = ('#6b6b6b', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b57d00', '#3a9bd0')
_PAGE = 13  # inches, that panels side by side may fill
SMALL = 6.5  # points, of what stands below an axis
_LEAST_SPAN = 0.05  # of the highest value: an axis of less makes luck look like a difference


def bars(comparison: Comparison) -> bytes:
    """A PNG: mean and sd of each method for each metric; bars where the axis starts at 0."""
    fractions, methods = comparison.fractions, comparison.methods
    places = len(fractions) * len(methods)
    figure, panels = _panels(comparison, width=0.6 + 0.58 * places)
    step = 0.84 / len(methods)
    for axes, metric in panels:
        from_zero = _limit(axes, comparison, metric)
        for index, method in enumerate(methods):
            colour, offset = colour_of(index), (index - (len(methods) - 1) / 2) * step
            for row in _rows(comparison, metric, method):
                centre = fractions.index(row.label_fraction) + offset
                if from_zero:
                    axes.bar(centre, row.mean, 0.8 * step, color=colour, alpha=0.45, lw=0)
                draw(axes, row, centre, colour, spread=0.2 * step)
                _below(axes, row, centre, colour, lines=0)
        axes.set_xlim(-0.5, len(fractions) - 0.5)
        axes.set_xticks(range(len(fractions)), [percent(share) for share in fractions])
        axes.tick_params('x', length=0, pad=22)
        axes.set_xlabel('of the labels', fontsize=9)
    return _png(
        figure, panels, comparison, ' (small dots); bars start at 0, an axis without bars need not'
    )


def curves(comparison: Comparison) -> bytes:
    """A PNG: mean (line), sd (error bars and band) and runs over label fractions."""
    shares = 100 * np.array(comparison.fractions)
    logs = np.log10(shares)
    closest = np.diff(logs).min() / np.ptp(logs)
    figure, panels = _panels(comparison, width=min(0.8 / closest + 1, 7))
    methods = comparison.methods
    for axes, metric in panels:
        _limit(axes, comparison, metric, cut=True)
        for index, method in enumerate(methods):
            rows = _rows(comparison, metric, method)
            colour = colour_of(index)
            places = np.array([100 * row.label_fraction for row in rows])
            means, errors = np.array([(r.mean, r.sd) for r in rows]).reshape(-1, 2).T
            axes.plot(places, means, color=colour, lw=1.6)
            axes.fill_between(  # none where there is no sd
                places, means - errors, means + errors, color=colour, alpha=0.13, lw=0
            )
            for row, place in zip(rows, places, strict=True):
                draw(axes, row, place, colour)
                _below(axes, row, place, colour, lines=1.7 + index, one_line=True)
        axes.set_xscale('log')
        axes.set_xlim(10 ** (logs[0] - 0.15 * np.ptp(logs)), 10 ** (logs[-1] + 0.15 * np.ptp(logs)))
        axes.set_xticks(shares, [percent(share) for share in comparison.fractions])
        axes.minorticks_off()
        axes.set_xlabel('of the labels', fontsize=9, labelpad=4 + 9 * len(methods))
    return _png(figure, panels, comparison)


def _panels(comparison, width):
    """A figure, and its axes (inches wide) with their metrics."""
    metrics = [name for name in comparison.metrics if _rows(comparison, name)]
    width = max(3.3, width)
    columns = max(1, min(round(_PAGE / width), 3, len(metrics)))
    rows = math.ceil(len(metrics) / columns) or 1
    figure = Figure((width * columns, 2.9 * rows + 0.8), dpi=150, layout='constrained')
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(metrics) :]:
        axes.set_visible(False)
    panels = list(zip(grid, metrics, strict=False))
    for axes, metric in panels:
        axes.set_title(title(metric), fontsize=9.5)
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', color='#e4e4e4', lw=0.6)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(labelsize=9)
    return figure, panels


def _limit(axes, comparison, metric, cut=False):
    """Sets the values' axis; returns whether it starts at 0.

    It does unless all differences would vanish (or `cut` says it need not): then it spans what is
    drawn, but not so little that chance looks large.
    """
    ends = []
    for row in _rows(comparison, metric):
        sd = np.nan_to_num(row.sd)
        ends += [*row.values, row.mean - sd, row.mean + sd]
    low, high = min(ends), max(ends)
    if not cut and low <= 0.6 * high:
        axes.set_ylim(min(low, 0), 1.08 * high or 1)
        return low >= 0
    missing = max(0, _LEAST_SPAN * abs(high) - (high - low)) or 1e-9
    low, high = low - missing / 2, high + missing / 2
    axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    return False


def draw(axes: Axes, row: Row, place: float, colour: str, spread: float = 0) -> None:
    """The mean as a dot and the sd, which needs two runs, as a bar; if spread, the runs around."""
    if row.runs > 1:
        axes.errorbar(
            place, row.mean, row.sd, color=colour, capsize=3, elinewidth=1.3, capthick=1.3
        )
    if row.runs > 1 and spread:
        places = place + np.linspace(-spread, spread, row.runs)
        axes.plot(places, row.values, 'o', color=colour, ms=2.8, alpha=0.6, mew=0)
    axes.plot(place, row.mean, 'o', color=colour, ms=5.5, mec='white', mew=0.8)


def _below(axes, row, place, colour, lines, one_line=False):
    """Writes n and p below a mean, some lines below the axis."""
    facts = [f'n = {row.runs}'] + ([] if math.isnan(row.p) else [f'p = {p_value(row.p)}'])
    axes.annotate(
        (', ' if one_line else '\n').join(facts),
        (place, 0),
        xycoords=('data', 'axes fraction'),
        xytext=(0, -4 - 9 * lines),
        textcoords='offset points',
        ha='center',
        va='top',
        fontsize=SMALL,
        color=colour,
    )


def _rows(comparison, metric, method=None):
    """Those that have a mean, in the unit in which they are shown."""
    return [
        scaled(row)
        for row in comparison.rows
        if row.metric == metric and method in (None, row.method) and not math.isnan(row.mean)
    ]


def scaled(row: Row) -> Row:
    """A row in the unit in which it is shown."""
    scale = factor(row.metric)
    return replace(row, values=scale * row.values, mean=scale * row.mean, sd=scale * row.sd)


def colour_of(index: int) -> str:
    """Of the method with this index: safe for the colour-blind."""
    return _COLOURS[index % len(_COLOURS)]


def _png(figure, panels, comparison, also=''):
    methods = comparison.methods
    for index, method in enumerate(methods):
        if panels:
            panels[0][0].plot([], [], 'o-', color=colour_of(index), ms=5.5, label=method)
    figure.suptitle(f'{comparison.dataset}, {comparison.task}', fontsize=11)
    note = f'mean ± sd over n runs{also}\n'
    note += f'p: {comparison.test}, against {comparison.baseline}'
    legend = figure.legend(
        loc='outside lower center',
        ncols=min(len(methods), 4),
        fontsize=9,
        frameon=False,
        title=note,
        title_fontsize=7.5,
    )
    legend.get_title().set_multialignment('center')
    return saved(figure)


def saved(figure: Figure) -> bytes:
    """The figure as a PNG."""
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format='png')
    return file.getvalue()
