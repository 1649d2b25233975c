"""The training step in PyTorch, on patches that are corrupted already."""

import torch
from torch.nn import functional

from genesis_jax.torch import UNet3D


class Step:
    """SGD on the squared error, as the published trainer does.

    Args:
      corrupted, target: NumPy `[B, X, Y, Z, 1]` in [0, 1].
      device: 'cpu' or 'cuda'.
      best: not as published but as fast as PyTorch can: channels last, bfloat16 where it may, and
        compiled where there is a GPU and that works (two cores need a minute and gain little).

    Attributes:
      compiled: whether it is.
    """

    def __init__(self, width, corrupted, target, device, best=False):
        self._device = torch.device(device)
        self._best = best
        self._layout = torch.channels_last_3d if best else torch.contiguous_format
        network = UNet3D(width=width).to(self._device, memory_format=self._layout)
        self._optimizer = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9)
        self._patches, self._target = (self._place(array) for array in (corrupted, target))
        self.compiled = best and self._device.type == 'cuda'
        self._network = torch.compile(network) if self.compiled else network
        if not self.compiled:
            return
        try:
            self._gradients()
        except Exception as error:  # of whatever compiler it calls
            print(f'torch.compile failed with {type(error).__name__}: PyTorch is measured without')
            self.compiled, self._network = False, network

    def __call__(self):
        """One step; its loss, to be waited for."""
        loss = self._gradients()
        self._optimizer.step()
        return loss

    def _gradients(self):
        torch.backends.cudnn.benchmark = self._best
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._best):
            logits = self._network(self._patches)
        loss = functional.mse_loss(torch.sigmoid(logits.float()), self._target)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def _place(self, array):
        moved = torch.from_numpy(array.copy()).permute(0, 4, 1, 2, 3).contiguous()
        return moved.to(self._device, memory_format=self._layout)
