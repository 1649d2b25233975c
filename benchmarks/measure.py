"""How the benchmarks time, describe the machine, show and keep what they measured.

Nothing here needs more than JAX.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from genesis_jax.cli.arguments import Parser
from genesis_jax.runs.files import write_atomically

RESULTS = Path(__file__).parent / 'results'
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch', 'monai', 'grain')


def compare(title, functions, items=None, more=lambda name, seconds: {}, **options):
    """Times functions, shows each beside the first; `{name: median}` and all samples by name.

    Args:
      items: `{name: how many a call handles}`; times are for one of them.
      more: `(name, seconds) -> further columns`.
      options: of `times`.
    """
    samples = times(functions, **options)
    for name, count in (items or {}).items():
        samples[name] = [value / count for value in samples[name]]
    seconds = medians(samples)
    first = next(iter(seconds.values()))
    rows = [
        {'': name, 'ms': 1e3 * value, **more(name, value), 'times the first': value / first}
        for name, value in seconds.items()
    ]
    show(title, rows)
    return seconds, samples


def times(functions, repetitions=5, calls=1, warm_up=None):
    """`{name: seconds of a call, by repetition}` of functions that return what to wait for.

    They are timed in turn, after one call each (or of those to `warm_up` instead), so that what
    else the machine does falls on all of them.

    Args:
      calls: in one repetition, of which only the last is waited for: as in training, the next one
        is handed over while an accelerator is at work.
    """
    for function in (warm_up or functions).values():
        _wait(function())
    seconds = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                result = function()
            _wait(result)
            seconds[name].append((time.perf_counter() - start) / calls)
    return seconds


def medians(seconds):
    """`{name: median}` of what `times` returns."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def on_cpu():
    """Whether the CPU is what there is: sizes are smaller then."""
    return jax.default_backend() == 'cpu'


def dtype():
    """The numbers that a user would compute with here."""
    return 'float32' if on_cpu() else 'bfloat16'


def torch_device(torch):
    """Where PyTorch is to run beside us, `cpu` or `cuda`; None: not on what JAX runs on."""
    if on_cpu():
        return 'cpu'
    same = jax.default_backend() == 'gpu' and torch.cuda.is_available()
    return 'cuda' if same and jax.device_count() == 1 else None


def cores():
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def device():
    """What the figures were measured on."""
    return {
        'platform': jax.default_backend(),
        'kind': _processor() if on_cpu() else jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'cores': cores(),
        'python': platform.python_version(),
        'versions': {name: version for name in _PACKAGES if (version := _version(name))},
    }


def limits():
    """What the device can do: its measured matrix rate in `dtype()`, its copy bandwidth."""
    side, products_each, mebibytes = (2048, 2, 256) if on_cpu() else (8192, 20, 1024)
    copies_each = 20  # so that the first touch of the memory does not count
    a = jax.random.normal(jax.random.key(0), (side, side), dtype())
    wide = jnp.ones((mebibytes, 512, 512), jnp.float32)

    @jax.jit
    def products(a):
        scale = jnp.asarray(0.01, a.dtype)
        return jax.lax.fori_loop(0, products_each, lambda _, b: (a @ b) * scale, a)

    @jax.jit
    def copies(wide):
        return jax.lax.fori_loop(0, copies_each, lambda _, x: x + 1, wide)

    taken = medians(times({'products': lambda: products(a), 'copies': lambda: copies(wide)}))
    return {
        'dtype': dtype(),
        'matrix_flops_per_second': products_each * 2 * side**3 / taken['products'],
        'copied_bytes_per_second': copies_each * 2 * wide.nbytes / taken['copies'],
    }


def command(main, description):
    """Runs `main` as a command that has no option but `--help`."""
    Parser(
        prog=f'python -m {sys.modules["__main__"].__spec__.name}',
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    main()


def show(title, rows):
    """Prints a table: rows are dicts with the same keys."""
    cells = [list(rows[0])] + [[_text(value) for value in row.values()] for row in rows]
    first, *widths = (max(map(len, column)) for column in zip(*cells, strict=True))
    print(f'\n{title}')
    for name, *values in cells:
        print(name.ljust(first), *map(str.rjust, values, widths), sep='  ')


def keep(name, figures):
    """Writes one benchmark's figures into this device's file, beside the others'; returns them."""
    about = device()
    label = about['kind'] + (f' {about["cores"]} cores' if on_cpu() else '')
    path = RESULTS / f'{re.sub("[^a-z0-9]+", "_", label.lower()).strip("_")}.json'
    kept = json.loads(path.read_text('utf-8')) if path.exists() else {}
    kept[name] = {'date': time.strftime('%Y-%m-%d'), 'device': about, **figures}
    write_atomically(path, json.dumps(kept, indent=2) + '\n')
    print(f'on {about["devices"]} x {about["kind"]}; kept in benchmarks/results/{path.name}')
    return figures


def _wait(result):
    jax.block_until_ready(result)
    if hasattr(result, 'cpu'):  # PyTorch's
        result.cpu()


def _text(value):
    return f'{value:.3g}' if isinstance(value, float) else '-' if value is None else str(value)


def _processor():
    try:
        lines = Path('/proc/cpuinfo').read_text('utf-8').splitlines()
    except OSError:
        lines = []
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return (names or [platform.processor() or platform.machine()])[0]


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
