"""`python -m genesis_jax.compare WORKDIR [WORKDIR ...] --out=DIR`."""

import argparse
import sys
from collections.abc import Sequence

from genesis_jax.cli.arguments import Parser, count, path_or_url
from genesis_jax.compare import analysis, figure2, layouts, published, statistics, tables, writers
from genesis_jax.compare.runs import read_workdir
from genesis_jax.errors import UserError, missing
from genesis_jax.runs.files import write_atomically

_EPILOG = """\
examples:
  python -m genesis_jax.compare runs/ncc_scratch runs/ncc_genesis --out=comparison
  python -m genesis_jax.compare runs/s10 runs/s100 runs/g10 runs/g100 \\
      --names=scratch,scratch,Genesis,Genesis      (curves over 10 % and 100 % of the labels)
  python -m genesis_jax.compare --layout=table4 runs/ncc_2d_scratch runs/ncc_2d_imagenet \\
      runs/ncc_2d_genesis runs/ncc_scratch runs/ncc_genesis      (and those of other tasks)

A run is one seed; where the task has folds, the mean over its folds. The paired test averages a
patient's Dice (segmentation) or Brier score (classification) over runs; its interval is that of
the difference of mean Dice or AUC, patients resampled. A class that is neither in the truth nor
in the prediction of a case has no Dice there. p-values stand raw, and corrected by Holm for their
number. Config fields that differ are listed below the tables.

Published numbers stand under the names scratch, Genesis (that is: Unified), Distortion, Painting;
in 2D ImageNet, Genesis CT, Genesis X-ray; TransVW."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares what the arguments name, writes and prints it; returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(arguments)
    stem = 'comparison' if args.layout == 'methods' else args.layout
    expected = [f'{stem}{suffix}' for suffix in ('.md', '.tex', '.csv')]
    expected += {'methods': ['bars.png', 'curves.png'], 'figure2': ['figure2.png']}.get(
        args.layout, []
    )
    of_others = ('edition',) if args.layout == 'methods' else ('baseline', 'draws', 'seed')
    parser.refuse(args, of_others, f'is not of --layout={args.layout}; leave it out')
    try:
        _check(args, expected)
        workdirs = [read_workdir(folder) for folder in args.workdir]
        report, plots = _lay_out(workdirs, args)
        texts = (writers.markdown(report, plots), writers.latex(report), writers.csv_text(report))
        files = {**dict(zip(expected, texts, strict=False)), **plots}
        for name, content in files.items():
            write_atomically(args.out / name, content)
        for name in set(expected) - set(files):  # of an earlier comparison: no part of this one
            (args.out / name).unlink(missing_ok=True)
    except UserError as error:
        parser.fail(error)
    except OSError as error:
        parser.fail(f'cannot go on ({error}); check disk and permissions')
    print(writers.markdown(report))
    print(f'written to {args.out}: {", ".join(files)}')
    if len(expected) > 3 and (absent := missing('plot', 'drawing')):
        print(f'no plots: {absent}')
    return 0


def _lay_out(workdirs, args):
    """`(report, {name: PNG})` of the layout that the arguments name."""
    if args.layout == 'methods':
        return _compare(workdirs, args)
    options = {'test': args.test, 'edition': args.edition}
    if args.layout in layouts.LAYOUTS:
        return layouts.lay_out(args.layout, workdirs, args.names, **options), {}
    report, tasks = figure2.lay_out(workdirs, args.names, **options)
    if missing('plot', 'drawing'):
        return report, {}
    from genesis_jax.compare import figure2_chart

    return report, {'figure2.png': figure2_chart.draw_tasks(tasks, figure2.PANELS)}


def _compare(workdirs, args):
    """Methods on one task: `(report, {name: PNG})`."""
    entries = analysis.name_workdirs(workdirs, args.names)
    comparison = analysis.analyse(
        entries, args.baseline, test=args.test, draws=args.draws, seed=args.seed
    )
    plots = {}
    if not missing('plot', 'drawing'):
        from genesis_jax.compare import charts

        plots['bars.png'] = charts.bars(comparison)
        if len(comparison.fractions) > 1:
            plots['curves.png'] = charts.curves(comparison)
    return tables.report(comparison), plots


def _check(args, expected):
    """Raises UserError for too few names, or an earlier comparison in --out."""
    if args.names and len(args.names) != len(args.workdir):
        raise UserError(
            f'--names has {len(args.names)} names for {len(args.workdir)} workdirs; give one for '
            'each, the same for those of one method at several label fractions'
        )
    there = [name for name in expected if (args.out / name).exists()]
    if there and not args.overwrite:
        raise UserError(
            f'{args.out / there[0]} exists already; choose another --out or give --overwrite'
        )


def _make_parser():
    parser = Parser(
        prog='python -m genesis_jax.compare',
        description='Compares fine-tuned methods: mean and sd over runs, tests, plots.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.option
    text = 'the --workdir of a fine-tuning: one method, at one label fraction'
    parser.positional('workdir', path_or_url, text, '+')
    option('out', path_or_url, 'DIR', 'folder for tables (.md, .tex, .csv) and plots', 'comparison')
    parser.switch('overwrite', 'replace an earlier comparison in DIR')
    text = (
        'methods: those on one task, at one or several shares of the labels; and as in the papers, '
        'of one or several tasks, table2: the best method against scratch; table3: the two best; '
        'table4: the best in 2D and in 3D; figure2: all pairs, in 2D'
    )
    option('layout', ('methods', *layouts.LAYOUTS, 'figure2'), None, text, 'methods')
    otherwise = (
        'config.init of each; in tables scratch, ImageNet or Genesis, by what was loaded, in DXC '
        'and IUC Genesis CT or Genesis X-ray: names that published numbers are shown with'
    )
    option('names', _names, 'A,B,...', 'a method name for each WORKDIR', otherwise=otherwise)
    otherwise = "the first WORKDIR's"
    option('baseline', str, 'NAME', 'compare with this method', otherwise=otherwise)
    text = 'of the runs: ' + '; '.join(f'{name}: {test}' for name, test in statistics.TESTS.items())
    option('test', tuple(statistics.TESTS), None, text, 'welch')
    editions = tuple(name for name in published.EDITIONS if name != 'tmi')
    text = "whose published numbers stand in the papers' tables"
    option('edition', editions, None, text, 'miccai')
    option('draws', count, 'N', 'of patients, for the interval of the difference', '2000')
    option('seed', int, 'N', 'of these draws', '0')
    return parser


def _names(text):
    return [name.strip() for name in text.split(',')]


if __name__ == '__main__':
    sys.exit(main())
