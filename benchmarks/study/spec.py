"""What a study is: its data, its pre-trainings, its target tasks, its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

IMAGENET = 'imagenet'  # a Start.init: the file of --imagenet


@dataclass(frozen=True)
class Target:
    """A target task: a config of `configs/` and its flags.

    Attributes:
      rates: learning rates of which each start gets the best on the validation split; a single one
        is not tried, none is the config's.
      tuned_at: share of the labels at which they are tried.
    """

    config: str
    flags: str = ''
    rates: Sequence[float] = ()
    tuned_at: float = 1.0


@dataclass(frozen=True)
class Start:
    """What a target task begins with: scratch, a pre-training by its name, or IMAGENET.

    Attributes:
      flags: of `main.py`, beside those of the target.
      rate_of: the start whose learning rate it takes over; empty: its own is tuned.
      length: of its runs, by which their expected minutes are multiplied.
    """

    init: str = 'scratch'
    flags: str = ''
    rate_of: str = ''
    length: float = 1.0


@dataclass(frozen=True)
class Layout:
    """A table of a study, and the runs that it is made of.

    Attributes:
      kind: a name in `benchmarks.study.tables.LAYOUTS`.
      starts: by target.
      fractions: shares of the labels.
    """

    kind: str
    starts: Mapping[str, Sequence[str]]
    fractions: Sequence[float] = (1.0,)


@dataclass(frozen=True)
class Study:
    """A comparison of starts on target tasks.

    Commands are those of a shell without `python -m`; `{raw}` in them is the folder of the raw
    files, `{NAME}` that of a source.

    Attributes:
      title, about: what is asked, and on which data.
      raw: what `--source` has to be; empty: nothing is needed.
      sources: by name, a command that fills `--out={NAME}`.
      datasets: by name, a command of `data_prep` without `--data_dir`.
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
