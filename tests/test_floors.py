"""Who may import whom: every module stands on a floor and imports only from lower ones."""

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# From the ground up. A module may import its own room and any room before it.
FLOORS = (
    'genesis_jax.errors',
    'genesis_jax.paths',
    'genesis_jax.interruption',
    'genesis_jax.tasks',
    'genesis_jax.topology',
    'genesis_jax.config_json',
    'genesis_jax.metrics',
    'genesis_jax.cli',
    'genesis_jax.imaging',  # files <-> arrays; no jax
    'genesis_jax.transforms',
    'genesis_jax.models',
    'genesis_jax.parallel',
    'genesis_jax.data',
    'genesis_jax.provenance',  # no jax
    'genesis_jax.card_rules',
    'genesis_jax.card',  # no jax
    'genesis_jax.checkpoints',
    'genesis_jax.convert',
    'genesis_jax.torch',
    'genesis_jax.transfer',
    'genesis_jax.training',
    'genesis_jax.config_rules',
    'genesis_jax.config',
    'genesis_jax.runs',
    'genesis_jax.inference',
    'genesis_jax.compare',
    'genesis_jax.run',
    'genesis_jax.pretrain',
    'genesis_jax.evaluate',
    'genesis_jax.predict',
    'genesis_jax.finetune',
)
PREP = (
    'data_prep.types',
    'data_prep.splits',
    'data_prep.sampling',
    'data_prep.build',
    'data_prep.formats',
    'data_prep.phantoms',
)  # then the commands
LENT = (
    'genesis_jax.errors',
    'genesis_jax.interruption',
    'genesis_jax.tasks',
    'genesis_jax.cli',
    'genesis_jax.imaging',
)  # all that data_prep may use
NO_JAX = (
    *LENT,
    'genesis_jax.config_json',
    'genesis_jax.metrics',
    'genesis_jax.compare',
    'genesis_jax.provenance',
    'genesis_jax.card_rules',
    'genesis_jax.card',
    'genesis_jax.paths',
    'data_prep',
)


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room(name, rooms):
    return max((r for r in rooms if f'{name}.'.startswith(f'{r}.')), key=len, default=None)


def violations(root=ROOT):
    for file in sorted([*root.glob('genesis_jax/**/*.py'), *root.glob('data_prep/**/*.py')]):
        me = '.'.join(file.relative_to(root).with_suffix('').parts).removesuffix('.__init__')
        for other in imports(file):
            top = other.partition('.')[0]
            if any(f'{me}.'.startswith(f'{r}.') for r in NO_JAX) and top in (
                'jax',
                'flax',
                'optax',
                'orbax',
            ):
                yield f'{me} imports {top}'
            if me.startswith('genesis_jax') and top in (
                'data_prep',
                'configs',
                'benchmarks',
                'tests',
            ):
                yield f'{me} imports {other}'
            if me.startswith('data_prep') and top == 'genesis_jax' and room(other, LENT) is None:
                yield f'{me} imports {other}'
            mine, theirs = room(me, FLOORS), room(other, FLOORS)
            if mine and theirs and FLOORS.index(theirs) > FLOORS.index(mine):
                yield f'{me} ({mine}) imports {other}, a floor above'
            mine, theirs = room(me, PREP), room(other, PREP)
            if (
                top == 'data_prep'
                and mine
                and (theirs is None or PREP.index(theirs) > PREP.index(mine))
            ):
                yield f'{me} imports {other}, a floor above'


def test_every_import_runs_downwards():
    assert not list(violations())


def test_no_modules_import_each_other_in_a_circle():
    files = [*ROOT.glob('genesis_jax/**/*.py'), *ROOT.glob('data_prep/**/*.py')]
    name = {f: '.'.join(f.relative_to(ROOT).with_suffix('').parts) for f in files}
    modules = {text.removesuffix('.__init__') for text in name.values()}
    graph = {}
    for file in files:
        found = {room(other, modules) for other in imports(file)} - {None}
        graph[name[file].removesuffix('.__init__')] = found - {name[file].removesuffix('.__init__')}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(' -> '.join(error.args[1])) from None
