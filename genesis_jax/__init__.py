"""Self-supervised pre-training of U-Nets for 3D medical imaging (Models Genesis) in JAX."""

__version__ = '0.1.0'
