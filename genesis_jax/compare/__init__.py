"""Compares fine-tuned methods: mean and sd over runs, tests, tables and plots.

`python -m genesis_jax.compare WORKDIR [WORKDIR ...]` is the way in. Reads text files only, and
imports no jax.
"""
