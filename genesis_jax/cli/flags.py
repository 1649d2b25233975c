"""Flags that say what is wrong with them, in one sentence."""

import difflib
import re
from pathlib import Path

from absl import flags

from genesis_jax.config_json import flatten

# Of a config that is one by itself: every argument has a default.
_EXPERIMENT = re.compile(r'^def get_config\((\)|\w+ *=)', re.MULTILINE)
_PLAIN = re.compile(r'^def get_config\(\)', re.MULTILINE)  # of a config without variants

_ALIKE = 0.65  # the ratio of difflib from which a field may have been meant


def parse_flags(argv: list[str]) -> list[str]:
    """`app.run(flags_parser=...)`: a bad flag ends in one sentence."""
    try:
        left = flags.FLAGS(argv)
        config = flags.FLAGS['config'].value
        if config is not None:
            flatten(config)  # a file that cannot be read raises only when it is used
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise SystemExit(f'error: {_explain(argv, error)}') from None
    return left


def _explain(argv, error):
    """What is wrong with the flags, given the error that parsing them raised."""
    values = _flag_values(argv[1:])
    if 'config' not in values:
        return 'found no --config; expected --config=configs/NAME.py --workdir=DIR'
    try:
        fields = flatten(flags.FLAGS['config'].parser.parse(values['config']))
    except (AttributeError, OSError, TypeError, ValueError) as unloadable:
        return _unloadable(values['config'], unloadable)
    groups = {name.rpartition('.')[0] for name in fields} - {''}
    for flag, value in values.items():
        name = flag.removeprefix('config.')
        if name == flag:
            continue
        if name in groups:
            return (
                f'config.{name} is a group of fields; set one of them: --config.{name}.FIELD=VALUE'
            )
        if name not in fields:
            return f'there is no field config.{name}; {_instead(name, fields)}'
        if any(words in str(error) for words in (f'--{flag}={value}:', f'base 10: {value!r}')):
            now = '' if fields[name] is None else f', such as {fields[name]!r}'
            return f'--{flag}={value}: expected {flags.FLAGS[flag].flag_type()}{now}'
    if 'workdir' not in values:
        return 'found no --workdir; expected the folder of the run, --workdir=DIR'
    return _last_line(error)


def _unloadable(value, error):
    """What is wrong with the file of a config that cannot be loaded."""
    name, _, variant = value.partition(':')
    file = Path(name)
    folder = file.parent if _experiments(file.parent) else Path('configs')
    experiments = _experiments(folder)
    if not file.is_file() and experiments:
        # Without a limit: far-off names are still examples of what is expected.
        nearest = difflib.get_close_matches(file.name, experiments, 3, 0)
        listed = ', '.join(str(folder / name) for name in nearest)
        return f'there is no config {file}; the nearest are {listed}'
    if not file.is_file():
        return f'there is no config {file}; expected configs/NAME.py, from the folder of main.py'
    if file.name not in experiments and 'def get_config(' in _text(file):
        return f'{file} is no experiment of its own; expected one of {", ".join(experiments)}'
    if variant and _PLAIN.search(_text(file)):
        return f'{file} has no variants; leave :{variant} out'
    return f'cannot load --config={value}: {_last_line(error)}'


def _experiments(folder):
    """Names of the configs in a folder that need no argument."""
    return [file.name for file in sorted(folder.glob('*.py')) if _EXPERIMENT.search(_text(file))]


def _text(file):
    return file.read_text('utf-8', errors='replace')


def _flag_values(arguments):
    """Flags by name, written `--name=value` or `--name value`."""
    values = {}
    for argument, following in zip(arguments, [*arguments[1:], ''], strict=False):
        if argument.startswith('-'):
            name, equals, value = argument.lstrip('-').partition('=')
            values[name] = value if equals else following
    return values


def _last_line(error):
    return str(error).strip().splitlines()[-1].strip().removeprefix('ValueError: ')


def _instead(name, fields):
    """What to write for an unknown field: the one most like it, or where none is, those beside."""
    group, dot, leaf = name.rpartition('.')
    beside = [field for field in fields if dot and field.startswith(group + dot)]

    def likeness(field):
        last = _ratio(leaf, field.rpartition('.')[2])
        whole = _ratio(name, field)
        # In a group that there is, its name says nothing of which field was meant.
        return last if beside else max(last, whole), whole

    nearest = max(fields, key=likeness)
    if likeness(nearest)[0] >= _ALIKE:
        return f'the nearest is config.{nearest}'
    tops = (field.partition('.') for field in fields)
    expected = beside or dict.fromkeys(top + dot + '…' * bool(dot) for top, dot, _ in tops)
    return f'expected one of {", ".join(expected)}'


def _ratio(a, b):
    return difflib.SequenceMatcher(None, a, b).ratio()
