"""Draws the papers' figure 2: panels of tasks, starts beside each other, p between all pairs."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genesis_jax.compare.charts import SMALL, colour_of, draw, saved, scaled
from genesis_jax.compare.figure2 import Task
from genesis_jax.compare.tables import title
from genesis_jax.compare.writers import p_value

_BRACKET = 0.16  # of what the values span, from one line of p to the next


def draw_tasks(tasks: Sequence[Task], names: Sequence[str]) -> bytes:
    """A PNG with a panel for each of `names` that has tasks."""
    methods = list(dict.fromkeys(method for task in tasks for method in task.rows))
    panels = [
        (name, members)
        for place, name in enumerate(names)
        if (members := [task for task in tasks if task.panel == place])
    ]
    widths = [max(1.6, 0.45 * len(methods)) * len(members) + 0.6 for _, members in panels]
    height = 3.6 + 0.15 * max(len(task.pairs) for task in tasks)  # room for the lines of p
    figure = Figure((max(4.0, sum(widths)), height), dpi=150, layout='constrained')
    grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axes, (name, members) in zip(grid, panels, strict=True):
        _panel(axes, members, methods)
        axes.set_title(name, fontsize=10)
    for index, method in enumerate(methods):
        grid[0].plot([], [], 'o-', color=colour_of(index), ms=5.5, label=method)
    legend = figure.legend(
        loc='outside lower center',
        ncols=min(len(methods), 4),
        fontsize=9,
        frameon=False,
        title='mean ± sd over runs (small dots); above: p of each pair, corrected by Holm',
        title_fontsize=7.5,
    )
    legend.get_title().set_multialignment('center')
    return saved(figure)


def _panel(axes: Axes, tasks: Sequence[Task], methods: Sequence[str]) -> None:
    """Dots, not bars: the axis does not start at 0."""
    step = 0.84 / len(methods)
    for place, task in enumerate(tasks):
        centres = {
            method: place + (index - (len(methods) - 1) / 2) * step
            for index, method in enumerate(methods)
        }
        for method, row in task.rows.items():
            index = methods.index(method)
            draw(axes, scaled(row), centres[method], colour_of(index), spread=0.2 * step)
        _brackets(axes, task, centres)
    labels = [f'{task.name}\n{title(task.metric)}' for task in tasks]
    axes.set_xticks(range(len(tasks)), labels)
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.tick_params(labelsize=8)
    axes.grid(axis='y', color='#e4e4e4', lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def _brackets(axes: Axes, task: Task, centres: dict[str, float]) -> None:
    """A line with its p above the dots for each pair of a task, one above the other."""
    rows = [scaled(row) for row in task.rows.values()]
    ends = [
        end
        for row in rows
        for end in (*row.values, row.mean - np.nan_to_num(row.sd), row.mean + np.nan_to_num(row.sd))
    ]
    span = max(max(ends) - min(ends), 0.01 * max(ends))
    tested = [pair for pair in task.pairs if not math.isnan(pair[3])]
    for level, (method, other, _, p) in enumerate(tested, start=1):
        height, places = max(ends) + _BRACKET * span * level, (centres[method], centres[other])
        axes.plot(places, [height, height], color='#444444', lw=0.8)
        axes.annotate(
            p_value(p),
            (sum(places) / 2, height),
            xytext=(0, 1),
            textcoords='offset points',
            ha='center',
            va='bottom',
            fontsize=SMALL - 0.5,
        )
