"""Shared by all tests: four simulated devices, cached compilations, strict broadcasting."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault(
    'JAX_COMPILATION_CACHE_DIR', str(Path(tempfile.gettempdir()) / 'genesis_jax_tests_xla')
)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)

GOLDEN = Path(__file__).parent / 'data'


@pytest.fixture(scope='session')
def golden():
    """The folder of numbers made by the published implementation."""
    return GOLDEN


@pytest.fixture
def rng():
    return np.random.default_rng(0)
