"""`python -m benchmarks.study --study=NAME --out=DIR`: a study from raw files to its tables.

Prints its plan first. What is there already is not made again: the same command goes on where an
earlier one stopped. Studies: the files of benchmarks/studies/, which say what they need.
"""

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Sequence

from benchmarks import studies
from benchmarks.study import run, tables
from benchmarks.study.plan import Places, make_steps
from benchmarks.study.spec import Study
from genesis_jax.cli.arguments import Parser, existing_file, existing_folder, path
from genesis_jax.errors import UserError
from genesis_jax.runs.files import write_atomically

NAMES = sorted(module.name for module in pkgutil.iter_modules(studies.__path__))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a study as the arguments say; returns the exit status."""
    parser = _make_parser()
    args = parser.parse_args(argv)
    study: Study = importlib.import_module(f'benchmarks.studies.{args.study}').study(args.quick)
    files = (args.out, args.source, args.imagenet)
    places = Places(*(file and file.absolute() for file in files))
    try:
        steps = make_steps(study, places)
        print(run.plan_text(study, steps), flush=True)
        if args.plan:
            return 0
        _claim(places.out, {'study': args.study, 'quick': args.quick})
        if not args.tables:
            run.run(steps)
        print(tables.write(study, places))
    except UserError as error:
        parser.fail(error)
    except KeyboardInterrupt:
        parser.fail('interrupted; the same command goes on where it stopped', 130)
    return 0


def _claim(out, about):
    """Writes what the folder holds, or raises UserError if it holds another study."""
    file = out / 'study.json'
    if file.exists() and (other := json.loads(file.read_text('utf-8'))) != about:
        quick = ', quick' * other['quick']
        raise UserError(f'{out} holds the study {other["study"]}{quick}; choose another --out')
    write_atomically(file, json.dumps(about) + '\n')


def _make_parser():
    parser = Parser(
        prog='python -m benchmarks.study',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.option
    option('study', NAMES, None, f'which: {", ".join(NAMES)}', required=True)
    option('out', path, 'DIR', 'folder for data, runs and tables', required=True)
    option('source', existing_folder, 'DIR', 'raw files, for a study that needs them')
    text = 'weights of a ResNet-18 for the starts from ImageNet'
    option('imagenet', existing_file, 'FILE', text, otherwise='no such starts')
    for name, text in {
        'plan': 'print the plan alone',
        'tables': 'make the tables alone, of the runs that are complete',
        'quick': 'the whole way in minutes: tiny networks that learn next to nothing',
    }.items():
        parser.switch(name, text)
    return parser


if __name__ == '__main__':
    sys.exit(main())
