"""The plots of a comparison: what is drawn, and what is not."""

from matplotlib.backends.backend_agg import FigureCanvasAgg

from genesis_jax.compare import analysis, charts
from genesis_jax.compare.runs import read_workdir
from tests.compared import make_workdir


def _comparison(*workdirs):
    return analysis.analyse(analysis.name_workdirs([read_workdir(path) for path in workdirs]))


def test_a_plot_has_no_error_bar_for_a_single_run_but_n_and_p(tmp_path, monkeypatch):
    workdirs = [
        make_workdir(tmp_path / init, init=init, runs=runs, skill=skill)
        for init, runs, skill in (('scratch', 3, 0.7), ('ct', 4, 0.76), ('once', 1, 0.7))
    ]
    figures = _keep_figures(monkeypatch)
    charts.bars(_comparison(*workdirs))
    dice = figures[0].axes[0]
    assert len(dice.containers) == 2  # error bars of scratch and ct
    texts = [text.get_text() for text in dice.texts]
    assert texts[0] == 'n = 3' and texts[1].startswith('n = 4\np = 0.') and texts[2] == 'n = 1'


def test_plots_neither_cut_bars_nor_stretch_a_small_difference(tmp_path, monkeypatch):
    near = [make_workdir(tmp_path / name, init=name, runs=1, skill=0.7) for name in 'ab']
    far = make_workdir(tmp_path / 'c', init='c', skill=0.2)
    figures = _keep_figures(monkeypatch)
    charts.bars(_comparison(*near))
    charts.bars(_comparison(*near, far))
    cut, whole = (figure.axes[0] for figure in figures)
    low, high = cut.get_ylim()
    assert high - low > 3 and low > 50 and not cut.patches
    assert whole.get_ylim()[0] == 0 and len(whole.patches) == 3


def _keep_figures(monkeypatch):
    figures = []

    def keep(figure):
        figures.append(figure)
        return FigureCanvasAgg(figure)

    monkeypatch.setattr(charts, 'FigureCanvasAgg', keep)
    return figures
