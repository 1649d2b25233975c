"""Runs the steps of a study one after the other, each a command of its own."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.study.plan import Step, hours
from benchmarks.study.spec import Study
from genesis_jax.compare.writers import table_lines
from genesis_jax.errors import UserError

_PRIOR = 0.25  # hours for which the expected pace counts, so that short steps do not decide


def plan_text(study: Study, steps: Sequence[Step]) -> str:
    """What will be run, and how long it is expected to take."""
    rows = []
    for kind in dict.fromkeys(step.kind for step in steps):
        members = [step for step in steps if step.kind == kind]
        left = [step for step in members if not step.done()]
        counts = (sum(step.runs for step in part) for part in (members, left))
        rows.append([kind, *map(str, counts), duration(hours(left))])
    left = [step for step in steps if not step.done()]
    return '\n'.join(
        [
            f'{study.title}: {study.about}',
            '',
            *table_lines(['step', 'in all', 'left', 'time left'], rows),
            f'{duration(hours(left))} are left, as expected on {study.device}',
        ]
    )


def run(steps: Sequence[Step]) -> None:
    """Runs what is not done.

    Raises:
      UserError: a command failed.
    """
    left = [step for step in steps if not step.done()]
    begun = time.monotonic()
    for number, step in enumerate(left, start=1):
        ahead = hours(left[number - 1 :])
        spent = (time.monotonic() - begun) / 3600
        ahead *= (spent + _PRIOR) / (hours(left[: number - 1]) + _PRIOR)  # this machine's pace
        command = step.command()
        print(f'\n=== {number} of {len(left)}, {duration(ahead)} to go: {step.name}')
        print('$ python', shlex.join(command), flush=True)
        if subprocess.run([sys.executable, *command]).returncode:
            raise UserError(
                f'the step "{step.name}" failed, as printed above; mend that and run the same '
                'command again, which goes on from there'
            )
        step.finish()


def duration(hours: float) -> str:
    """`1.7 h`, or minutes of less than one."""
    return f'{hours:.1f} h' if hours >= 1 else f'{60 * hours:.0f} min'
