"""How fast a whole scan is predicted: python -m benchmarks.predict

Our sliding window against MONAI's, the same network in both, windows that overlap by half.
"""

import functools

import jax
import numpy as np

from benchmarks import measure
from benchmarks.recipe import PATCH
from genesis_jax.convert.names import describe, rows, to_torch
from genesis_jax.errors import missing
from genesis_jax.inference.sliding import on_devices, sliding_window, whole_batch
from genesis_jax.models import UNet3D

try:
    import torch
    from monai.inferers import sliding_window_inference

    from genesis_jax import torch as genesis_torch
except ModuleNotFoundError as error:
    if (error.name or '').partition('.')[0] not in ('torch', 'monai'):
        raise
    sliding_window_inference = None

SCAN = (256, 256, 128)


def main():
    """Measures, shows and keeps; returns the figures."""
    if sliding_window_inference is None:
        print(f'nothing is compared: {missing("bench", "a comparison")}')
    if measure.on_cpu():
        # Wider networks on less: the whole scan would take minutes.
        cases = [(4, SCAN, 'float32', 2), (8, (128, 128, 64), 'float32', 3)]
    else:
        cases = [(32, SCAN, 'float32', 5), (32, SCAN, 'bfloat16', 5)]
    return measure.keep(
        'predict', {'window': list(PATCH[:-1]), 'cases': [_case(*case) for case in cases]}
    )


def _case(width, shape, dtype, repetitions):
    """One network on one scan, in every way that this machine can."""
    scan = np.random.default_rng(0).random((*shape, 1), dtype=np.float32)
    small_scan = scan[tuple(slice(2 * side) for side in PATCH[:-1])]  # to warm up
    network = UNet3D(width=width, dtype=dtype)
    key, small = jax.random.key(0), np.zeros((1, 16, 16, 16, 1), np.float32)
    variables = jax.jit(functools.partial(network.init, train=False))(key, small)
    predict = on_devices([(lambda v, x: jax.nn.sigmoid(network.predict(v, x)), variables)])
    runs = {'genesis_jax': functools.partial(sliding_window, predict, window=PATCH[:-1])}
    if sliding_window_inference and (device := measure.torch_device(torch)):
        runs['MONAI'] = _monai(width, dtype, variables, device)
    results = {}

    def kept(name, scan):
        results[name] = runs[name](scan)
        return results[name]

    taken, samples = measure.compare(
        f'Sliding window over {"x".join(map(str, shape))} voxels, width {width}, {dtype}',
        {name: functools.partial(kept, name, scan) for name in runs},
        repetitions=repetitions,
        warm_up={name: functools.partial(kept, name, small_scan) for name in runs},
    )
    figures = {
        'scan': list(shape),
        'width': width,
        'dtype': dtype,
        'seconds': taken,
        'samples': samples,
    }
    if 'MONAI' in taken:
        figures |= {
            'ratio': taken['MONAI'] / taken['genesis_jax'],
            'largest_difference': float(np.abs(results['MONAI'] - results['genesis_jax']).max()),
        }
    return figures


def _monai(width, dtype, variables, device):
    """MONAI's function from a scan to its prediction, `[X, Y, Z, 1]`, with the same network."""
    network = genesis_torch.UNet3D(width=width)
    card = describe(network.state_dict(), 'the network')
    arrays = to_torch(jax.device_get(variables), rows(card))
    network.load_state_dict(
        {n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, strict=False
    )
    network = network.to(device).eval()

    def run(scan):
        volume = torch.from_numpy(scan[..., 0].copy())[None, None]
        narrow = torch.autocast(device, torch.bfloat16, enabled=dtype == 'bfloat16')
        with torch.inference_mode(), narrow:
            probabilities = sliding_window_inference(
                volume,
                roi_size=PATCH[:-1],
                sw_batch_size=whole_batch(),
                predictor=lambda x: torch.sigmoid(network(x).float()),
                overlap=0.5,
                mode='gaussian',
                sw_device=device,
                device=device,
            )
        return probabilities[0, 0, ..., None].cpu().numpy()

    return run


if __name__ == '__main__':
    measure.command(main, __doc__)
