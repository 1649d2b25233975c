"""Commands as a user types them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def python(*arguments):
    """What `python ARGUMENTS` says; where it fails, so does the test, with all that it said.

    Optimised as for users: these take scans of real sizes, on which other programs are slow.
    """
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment | {'JAX_NUM_CPU_DEVICES': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'python {" ".join(arguments)}\n{done.stdout}{done.stderr}'
    return done.stdout
