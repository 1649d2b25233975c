"""Commands as a user types them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def python(*arguments):
    """What `python ARGUMENTS` says; an error if it fails.

    Optimised as for users: these take scans of real sizes, on which other programs are slow.
    """
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment | {'JAX_NUM_CPU_DEVICES': '1'},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
