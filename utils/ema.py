"""Exponential moving average of a network's weights."""
import copy

import torch


class Ema:
    """A float32 copy of `net` that follows it: copy = decay * copy + (1 - decay) * net, buffers taken as they are.

    Made before mixed precision touches `net`; `follow` then binds it to the float32 masters.
    """

    def __init__(self, net, decay):
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay

    def follow(self, net):
        """Follow `net`, whose float32 state (views that stay valid) is read once here."""
        source = net.state_dict()
        mine = self.net.state_dict()
        self._averaged, self._copied = ([], []), ([], [])
        learned = {name for name, _ in self.net.named_parameters()}
        for name, tensor in mine.items():
            pair = self._averaged if name in learned else self._copied
            pair[0].append(tensor)
            pair[1].append(source[name])

    @torch.no_grad()
    def update(self):
        torch._foreach_lerp_(*self._averaged, 1 - self.decay)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)
