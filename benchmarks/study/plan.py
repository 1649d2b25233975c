"""What a study is, and the steps that lead from its raw files to its runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.study.tuning import chosen_rate
from genesis_jax.compare.writers import percent
from genesis_jax.errors import UserError

Command = tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """A target task: a config of `configs/` and its flags.

    Attributes:
      rates: learning rates of which each start gets the best on the validation split; a single one
        is not tried.
      tuned_at: share of the labels at which they are tried.
    """

    config: str
    flags: str = ''
    rates: Sequence[float] = ()
    tuned_at: float = 1.0


@dataclass(frozen=True)
class Start:
    """What a target task begins with: scratch, or a pre-training by its name; and more flags.

    Attributes:
      tuned_as: a start whose learning rate this one takes over instead of trying them.
    """

    init: str = 'scratch'
    flags: str = ''
    tuned_as: str = ''


@dataclass(frozen=True)
class Layout:
    """A table of a study, and the runs that it is made of: targets by starts by shares of labels.

    Attributes:
      kind: a name in `benchmarks.study.tables.LAYOUTS`.
    """

    kind: str
    targets: Sequence[str]
    starts: Sequence[str]
    fractions: Sequence[float] = (1.0,)


@dataclass(frozen=True)
class Study:
    """A comparison of starts on target tasks.

    Commands are those of a shell without the `python`; `{raw}` is the folder of the raw files,
    `{NAME}` that of a source.

    Attributes:
      title, about: what is asked; on which data.
      raw: what `--source` has to be; empty: nothing is needed.
      sources: by name, a command that fills `--out={NAME}`.
      datasets: by name, a command of `data_prep` without `--name` and `--data_dir`.
      pretrainings: by name, config and flags of `main.py`.
      targets, starts: by the names that tables show.
      layouts: the tables; what they need is run, in their order.
      seeds: runs of each start on each task; `tuning_seeds` of each learning rate.
      minutes: expected of a source or dataset, a pre-training and a run, on `device`.
    """

    title: str
    about: str
    raw: str = ''
    sources: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    pretrainings: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)
    starts: Mapping[str, Start] = field(default_factory=dict)
    layouts: Sequence[Layout] = ()
    seeds: int = 5
    tuning_seeds: int = 1
    minutes: tuple[float, float, float] = (1, 60, 5)
    device: str = 'two CPU cores'

    @property
    def runs(self) -> list[tuple[str, str, float]]:
        """Target, start and share of the labels of all runs, each once."""
        return [*dict.fromkeys(run for layout in self.layouts for run in self.runs_of(layout))]

    def runs_of(self, layout: Layout) -> list[tuple[str, str, float]]:
        """Those that a table needs."""
        return [
            (target, start, fraction)
            for fraction in layout.fractions
            for target in layout.targets
            for start in layout.starts
        ]


@dataclass(frozen=True)
class Step:
    """A command that is run unless `done`; it is made when its turn comes.

    Attributes:
      runs: what the plan counts: runs of a fine-tuning, else 1.
    """

    kind: str
    name: str
    command: Callable[[], Command]
    done: Callable[[], bool]
    minutes: float
    runs: int = 1


def workdir(out: Path, target: str, start: str, fraction: float) -> Path:
    """The runs of a start on a target task, at a share of the labels."""
    return out / 'runs' / f'{target}_{_slug(start)}_{100 * fraction:g}'


def make_steps(study: Study, out: Path, raw: Path | None) -> list[Step]:
    """All steps of a study, in their order."""
    _check(study, raw)
    return [
        *_data_steps(study, out, raw),
        *_pretraining_steps(study, out),
        *_tuning_steps(study, out),
        *_run_steps(study, out),
        *_robustness_steps(study, out),
    ]


def _check(study, raw):
    if study.raw and raw is None:
        raise UserError(f'the study needs --source=DIR, {study.raw}; give it')
    if raw is not None and not study.raw:
        raise UserError('the study draws its own scans; leave --source out')


def _data_steps(study, out, raw):
    minutes = study.minutes[0]
    folders = {name: out / 'raw' / name for name in study.sources} | {'raw': raw}
    for name, text in study.sources.items():
        command = _words(f'-m {text}', folders) + (f'--out={folders[name]}',)
        yield Step('source', f'raw files: {name}', _fixed(command), folders[name].exists, minutes)
    data = out / 'data'
    for name, text in study.datasets.items():
        options = (f'--name={name}', f'--data_dir={data}')
        command = _words(f'-m data_prep.{text}', folders) + options
        yield Step('dataset', f'dataset: {name}', _fixed(command), (data / name).exists, minutes)


def _pretraining_steps(study, out):
    for name, text in study.pretrainings.items():
        folder = out / 'runs' / name
        command = _main(text, folder, out)
        done = (folder / 'export' / 'encoder_decoder').exists
        yield Step('pre-training', f'pre-training: {name}', _fixed(command), done, study.minutes[1])


def _tuning_steps(study, out):
    pairs = dict.fromkeys((target, _tuned(study, start)) for target, start, _ in study.runs)
    for target_name, start_name in pairs:
        target = study.targets[target_name]
        for rate in target.rates if len(target.rates) > 1 else ():
            yield _fine_tuning(
                study, out, target_name, start_name, target.tuned_at,
                tuning_folder(out, target_name, start_name, rate),
                kind='tuning',
                name=f'{target_name} from {start_name}, learning rate {rate:g}',
                rate=lambda rate=rate: rate,
                seeds=study.tuning_seeds,
            )  # fmt: skip


def _run_steps(study, out):
    for target, start, fraction in study.runs:
        yield _fine_tuning(
            study, out, target, start, fraction,
            workdir(out, target, start, fraction),
            kind='fine-tuning',
            name=f'{target} from {start}, {percent(fraction)} of the labels',
            rate=lambda target=target, start=start: rate_of(study, out, target, start),
            seeds=study.seeds,
        )  # fmt: skip


def _robustness_steps(study, out):
    for layout in study.layouts:
        for target in layout.targets if layout.kind == 'robustness' else ():
            table = out / 'robustness' / f'{target}.csv'
            folders = [workdir(out, *run) for run in study.runs_of(layout) if run[0] == target]
            command = ('-m', 'benchmarks.study.robustness', *map(str, folders))
            command += (f'--data_dir={out / "data"}', f'--out={table}')
            minutes = study.minutes[2] * study.seeds * len(folders)
            name = f'{target} under changes of intensity'
            yield Step('robustness', name, _fixed(command), table.exists, minutes)


def _tuned(study, start):
    """The start whose learning rate this one gets."""
    return study.starts[start].tuned_as or start


def rate_of(study: Study, out: Path, target: str, start: str) -> float | None:
    """The learning rate of a start on a target task; None: that of the config."""
    rates = study.targets[target].rates
    if len(rates) < 2:
        return rates[0] if rates else None
    tuned = _tuned(study, start)
    return chosen_rate({rate: tuning_folder(out, target, tuned, rate) for rate in rates})


def tuning_folder(out: Path, target: str, start: str, rate: float) -> Path:
    """The runs of a start on a target task with a learning rate."""
    return out / 'tuning' / f'{target}_{_slug(start)}_{rate:g}'


def _fine_tuning(study, out, target_name, start_name, fraction, folder, *, kind, name, rate, seeds):
    target, start = study.targets[target_name], study.starts[start_name]
    init = start.init if start.init == 'scratch' else out / 'runs' / start.init

    def command():
        flags = f'{target.config} {target.flags} {start.flags}'
        flags += f' --config.label_fraction={fraction} --config.runs={seeds}'
        if (value := rate()) is not None:
            flags += f' --config.optimizer.learning_rate={value}'
        return _main(flags, folder, out) + (f'--config.init={init}',)

    def done():
        complete = {file.parent.name.split('_fold_')[0] for file in folder.glob('*/results.json')}
        return (folder / 'results.csv').exists() and len(complete) >= seeds

    return Step(kind, name, command, done, seeds * study.minutes[2], seeds)


def _main(text, folder, out):
    config, *flags = text.split()
    return ('main.py', f'--config=configs/{config}', *flags) + (
        f'--config.data.dir={out / "data"}',
        f'--workdir={folder}',
    )


def _words(text, folders):
    """The words of a command; `{NAME}` in them become folders, whatever these are called."""
    return tuple(word.format(**folders) for word in text.split())


def _fixed(command):
    return lambda: command


def _slug(name):
    return ''.join(c if c.isalnum() else '_' for c in name.lower())


def hours(steps: Sequence[Step]) -> float:
    """Expected of these steps."""
    return math.fsum(step.minutes for step in steps) / 60
