"""Scans to cubes: medical images in, TFDS datasets of int16 cubes out. Nothing imports jax."""
