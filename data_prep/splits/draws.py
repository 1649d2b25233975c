"""Draws that depend on a seed and a name alone: the same on every machine, in every order."""

import hashlib
from collections.abc import Iterable

import numpy as np

from data_prep.types import counted
from genesis_jax.errors import PrepareError


def pick_validation(patients: Iterable[str], share: float, seed: int) -> set[str]:
    """The patients (or scans) that validate: this share of them, at least one and not all."""
    drawn = ranked(patients, seed)
    return set(drawn[: min(max(1, round(share * len(drawn))), len(drawn) - 1)])


def ranked(patients: Iterable[str], seed: int) -> list[str]:
    """The patients in a drawn order."""
    return sorted(set(patients), key=lambda patient: digest(seed, f'split {patient}'))


def digest(seed: int, text: str) -> bytes:
    """A hash that is the same on every machine, for draws and orders that depend on an id."""
    return hashlib.sha256(f'{seed} {text}'.encode()).digest()


def generator(seed: int, text: str) -> np.random.Generator:
    """Random draws that depend on the seed and an id only."""
    return np.random.default_rng(int.from_bytes(digest(seed, text)))


def assign_folds(patients: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """A fold for every patient, with as even numbers of patients as can be."""
    patients = set(patients)
    if len(patients) < folds:
        raise PrepareError(
            f'{counted(len(patients), "patients")} cannot be assigned to {folds} folds; lower '
            '--folds or add patients'
        )
    return {patient: rank % folds for rank, patient in enumerate(ranked(patients, seed))}
