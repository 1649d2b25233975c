"""What decides the shapes of the networks, for all who build or name their arrays. Imports no jax.

In 3D: the U-Net of Models Genesis. In 2D: a ResNet-18, with a decoder that is ours.
"""

LEVELS = 4  # in 3D
STAGES = 4  # of the ResNet-18, after its stem
BLOCKS = 2  # in each stage
# Every side of the input must divide by it: in 3D for three max-pools; in 2D for the stem, its pool
# and the stages after the first.
DIVISORS = {3: 2 ** (LEVELS - 1), 2: 2 ** (STAGES + 1)}


def scales(width):
    """Channels of the ResNet's features, finest first: the stem's, then those of the stages."""
    return (width, *(width * 2**stage for stage in range(STAGES)))


def last_features(width):
    """Channels of the last level of the 2D decoder, which the head reads."""
    return max(1, width // 2)
