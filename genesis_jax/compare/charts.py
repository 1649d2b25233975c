"""Plots of a comparison: bars with error bars, curves over label fractions."""

import io
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genesis_jax.compare.tables import factor, title

_COLOURS = ('#7f7f7f', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
_COLUMNS = 3


def bars(comparison):
    """A PNG: mean and sd of each method for each metric, runs as points."""
    figure, panels = _panels(comparison)
    fractions, methods = comparison.fractions, comparison.methods
    width = 0.8 / len(methods)
    for axes, metric in panels:
        ends = []
        for index, method in enumerate(methods):
            rows = _rows(comparison, metric, method)
            if not rows:
                continue
            centres = [
                fractions.index(row.label_fraction) + (index - (len(methods) - 1) / 2) * width
                for row in rows
            ]
            means, errors = _means(rows), np.nan_to_num(_errors(rows))
            colour = _COLOURS[index % len(_COLOURS)]
            axes.bar(
                centres,
                means,
                0.86 * width,
                yerr=errors,
                color=colour,
                alpha=0.75,
                capsize=3,
                error_kw={'lw': 1.2},
                label=method,
            )
            for centre, row in zip(centres, rows, strict=True):
                values = row.values * factor(metric)
                spots = centre + np.linspace(-0.25, 0.25, len(values)) * width
                axes.plot(spots, values, 'o', color='black', ms=2.5, alpha=0.5, mew=0)
                ends += [*values]
            ends += [*(means - errors), *(means + errors)]
        _limit(axes, metric, np.array(ends))
        axes.set_xticks(range(len(fractions)), [f'{100 * share:g} %' for share in fractions])
        axes.set_xlabel('of the labels')
    return _png(figure, panels, len(methods))


def curves(comparison):
    """A PNG: mean (line) and sd (band) over label fractions."""
    figure, panels = _panels(comparison)
    for axes, metric in panels:
        for index, method in enumerate(comparison.methods):
            rows = _rows(comparison, metric, method)
            if not rows:
                continue
            shares = np.array([100 * row.label_fraction for row in rows])
            means, errors = _means(rows), np.nan_to_num(_errors(rows))
            colour = _COLOURS[index % len(_COLOURS)]
            axes.plot(shares, means, 'o-', color=colour, ms=4, lw=1.6, label=method)
            axes.fill_between(
                shares, means - errors, means + errors, color=colour, alpha=0.18, lw=0
            )
        axes.set_xscale('log')
        ticks = [100 * share for share in comparison.fractions]
        axes.set_xticks(ticks, [f'{tick:g} %' for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel('of the labels')
    return _png(figure, panels, len(comparison.methods))


def _panels(comparison):
    """A figure, and its axes with their metrics."""
    metrics = [name for name in comparison.metrics if _rows(comparison, name)]
    columns = min(_COLUMNS, len(metrics)) or 1
    rows = math.ceil(len(metrics) / columns) or 1
    figure = Figure((3.4 * columns, 2.9 * rows + 0.5), dpi=150, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(metrics) :]:
        axes.set_visible(False)
    panels = list(zip(grid, metrics, strict=False))
    for axes, metric in panels:
        axes.set_title(title(metric), fontsize=10)
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', color='#dddddd', lw=0.6)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(labelsize=9)
    return figure, panels


def _limit(axes, metric, ends):
    """Bars start at 0, unless all differences would vanish: then the axis says where it starts."""
    low, high = ends.min(), ends.max()
    if high > 0 and low > 0.6 * high:
        low = max(0, low - 0.3 * (high - low) - 1e-3 * high)
        axes.set_ylim(low, high + 0.08 * (high - low))
        axes.annotate(
            'axis does not start at 0',
            (0.01, 0.98),
            xycoords='axes fraction',
            va='top',
            fontsize=7,
            color='#666666',
        )


def _rows(comparison, metric, method=None):
    return [
        row
        for row in comparison.rows
        if row.metric == metric and method in (None, row.method) and not math.isnan(row.mean)
    ]


def _means(rows):
    return np.array([row.mean * factor(row.metric) for row in rows])


def _errors(rows):
    return np.array([row.sd * factor(row.metric) for row in rows])


def _png(figure, panels, methods):
    if panels:
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc='outside lower center', ncols=min(methods, 4), fontsize=9
        )
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format='png')
    return file.getvalue()
