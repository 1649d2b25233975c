"""The steps that lead from the raw files of a study to its runs."""

import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.study.spec import IMAGENET, Layout, Start, Study
from benchmarks.study.tuning import chosen_rate
from genesis_jax.compare.writers import percent
from genesis_jax.errors import UserError


@dataclass(frozen=True)
class Run:
    """The runs, one for each seed, of a start on a target at a share of the labels."""

    target: str
    start: str
    fraction: float


@dataclass(frozen=True)
class Places:
    """The folders and files of a study on this machine.

    Attributes:
      out: everything that it makes.
      raw: raw files of the user, or None.
      imagenet: weights of a ResNet-18, or None: then nothing starts from there.
    """

    out: Path
    raw: Path | None = None
    imagenet: Path | None = None

    @property
    def data(self) -> Path:
        return self.out / 'data'

    def workdir(self, run: Run) -> Path:
        return self.out / 'runs' / f'{_slug(run.target)}_{_slug(run.start)}_{100 * run.fraction:g}'

    def tuning(self, run: Run, rate: float) -> Path:
        return self.out / 'tuning' / f'{_slug(run.target)}_{_slug(run.start)}_{rate:g}'

    def init(self, start: Start) -> str:
        if start.init == IMAGENET:
            return str(self.imagenet)
        return start.init if start.init == 'scratch' else str(self.out / 'runs' / start.init)


@dataclass(frozen=True)
class Step:
    """A command that is run unless `done`; it is made when its turn comes.

    Attributes:
      runs: what the plan counts: runs of a fine-tuning, else 1.
      finish: what is left to do once the command succeeded.
    """

    kind: str
    name: str
    command: Callable[[], tuple[str, ...]]
    done: Callable[[], bool]
    minutes: float
    runs: int = 1
    finish: Callable[[], object] = lambda: None


def runs_of(study: Study, layout: Layout, places: Places) -> list[Run]:
    """The runs of a table."""
    return [
        Run(target, start, fraction)
        for fraction in layout.fractions
        for target, starts in layout.starts.items()
        for start in starts
        if places.imagenet or study.starts[start].init != IMAGENET
    ]


def make_steps(study: Study, places: Places) -> list[Step]:
    """All steps of a study, in their order.

    Raises:
      UserError: raw files are missing, or given for nothing.
    """
    if study.raw and places.raw is None:
        raise UserError(f'the study needs --source=DIR, {study.raw}; give it')
    if places.raw is not None and not study.raw:
        raise UserError('the study draws its own scans; leave --source out')
    if places.imagenet and not any(start.init == IMAGENET for start in study.starts.values()):
        raise UserError('nothing in the study starts from ImageNet; leave --imagenet out')
    runs = dict.fromkeys(run for layout in study.layouts for run in runs_of(study, layout, places))
    return [
        *_data_steps(study, places),
        *_pretraining_steps(study, places),
        *_run_steps(study, places, runs),
        *_robustness_steps(study, places),
    ]


def _data_steps(study, places):
    minutes = study.minutes[0]
    folders = {name: places.out / 'raw' / name for name in study.sources} | {'raw': places.raw}
    for name, text in study.sources.items():
        folder = folders[name]
        partial = folder.with_name(f'{name}.partial')
        command = _words(text, folders) + (f'--out={partial}',)
        yield Step(
            'source',
            f'raw files: {name}',
            _anew(partial, command),
            folder.exists,
            minutes,
            finish=_renamed(partial, folder),
        )
    for name, text in study.datasets.items():
        command = _words(f'data_prep.{text}', folders) + (f'--data_dir={places.data}',)
        done = (places.data / name).exists
        yield Step('dataset', f'dataset: {name}', _fixed(command), done, minutes)


def _pretraining_steps(study, places):
    for name, text in study.pretrainings.items():
        folder = places.out / 'runs' / name
        command = _main(text, places, folder)
        done = (folder / 'export' / 'encoder_decoder').exists
        yield Step('pre-training', f'pre-training: {name}', _fixed(command), done, study.minutes[1])


def _run_steps(study, places, runs):
    """The fine-tunings, the learning rate of a start is tuned before its first."""
    tuned = set()
    for run in runs:
        pair = (run.target, study.starts[run.start].rate_of or run.start)
        if pair not in tuned:
            tuned.add(pair)
            yield from _tuning_steps(study, places, *pair)
        name = f'{run.target} from {run.start}, {percent(run.fraction)} of the labels'
        folder, rate = places.workdir(run), lambda run=run: rate_of(study, places, run)
        command = _fine_tuning(study, places, run, folder, study.seeds, rate)
        yield _step(study, run.start, 'fine-tuning', name, command, folder, study.seeds)


def _tuning_steps(study, places, target, start):
    task = study.targets[target]
    run = Run(target, start, task.tuned_at)
    for rate in task.rates if len(task.rates) > 1 else ():
        name = f'{target} from {start}, learning rate {rate:g}'
        folder = places.tuning(run, rate)
        command = _fine_tuning(study, places, run, folder, study.tuning_seeds, lambda r=rate: r)
        yield _step(study, start, 'tuning', name, command, folder, study.tuning_seeds)


def rate_of(study: Study, places: Places, run: Run) -> float | None:
    """The learning rate of runs, once it was tuned; None: that of the config."""
    rates = study.targets[run.target].rates
    if len(rates) < 2:
        return rates[0] if rates else None
    tuned = replace(run, start=study.starts[run.start].rate_of or run.start)
    return chosen_rate({rate: places.tuning(tuned, rate) for rate in rates})


def _fine_tuning(study, places, run, folder, seeds, rate):
    """What makes the command of a fine-tuning."""
    target, start = study.targets[run.target], study.starts[run.start]

    def command():
        flags = f'{target.config} {target.flags} {start.flags}'
        flags += f' --config.label_fraction={run.fraction} --config.runs={seeds}'
        if (value := rate()) is not None:
            flags += f' --config.optimizer.learning_rate={value}'
        return _main(flags, places, folder) + (f'--config.init={places.init(start)}',)

    return command


def _step(study, start, kind, name, command, folder, seeds):
    def done():
        files = folder.glob('*/results.json')
        folds = Counter(file.parent.name.partition('_fold_')[0] for file in files)
        whole = [count for count in folds.values() if count == max(folds.values())]
        return (folder / 'results.csv').exists() and len(whole) >= seeds

    minutes = seeds * study.minutes[2] * study.starts[start].length
    return Step(kind, name, command, done, minutes, seeds)


def _robustness_steps(study, places) -> Iterator[Step]:
    for layout in study.layouts:
        for target in layout.starts if layout.kind == 'robustness' else ():
            runs = [run for run in runs_of(study, layout, places) if run.target == target]
            table = places.out / 'robustness' / f'{target}.csv'
            command = ('-m', 'benchmarks.study.robustness', *(str(places.workdir(r)) for r in runs))
            command += (f'--data_dir={places.data}', f'--out={table}')
            minutes = study.minutes[2] * study.seeds * len(runs)
            name = f'{target} under changes of intensity'
            yield Step('robustness', name, _fixed(command), table.exists, minutes)


def _main(text, places, folder):
    config, *flags = text.split()
    ends = (f'--config.data.dir={places.data}', f'--workdir={folder}')
    return ('main.py', f'--config=configs/{config}', *flags, *ends)


def _words(text, folders):
    """The words of a command; `{NAME}` in them become folders, whatever these are called."""
    return ('-m', *(word.format(**folders) for word in text.split()))


def _fixed(command):
    return lambda: command


def _anew(partial, command):
    """A command that fills a folder, which an interrupted one may have left."""

    def make():
        shutil.rmtree(partial, ignore_errors=True)
        return command

    return make


def _renamed(partial, folder):
    return lambda: partial.rename(folder)


def _slug(name):
    return ''.join(c if c.isalnum() else '_' for c in name.lower())


def hours(steps: Sequence[Step]) -> float:
    """Expected of these steps."""
    return math.fsum(step.minutes for step in steps) / 60
