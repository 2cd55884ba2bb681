# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The contract between the trainer and a recipe.

A recipe holds networks and losses. It knows nothing of devices, ranks, files, logging or precision: the
trainer moves the networks, wraps the optimizers, and does backward and step for every phase.
"""
import contextlib
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimizer: the roles of the networks it trains, and its hyperparameters. Subclasses define its `kind`.

    lr_factors: ((prefix of parameter names, factor), ...); matching parameters learn at `factor` times the rate.
    """
    roles: tuple
    lr: float
    lr_factors: tuple = field(default=(), kw_only=True)

    def numbers(self):
        """Returns {name: value} of the optimizer's own arguments."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("roles", "lr_factors")}

    def parameter_groups(self, networks):
        """Returns torch's parameter groups, one per learning rate, each with its lr_factor.

        networks: {role: nn.Module}. Frozen parameters (requires_grad False) are left out.
        """
        groups = {}
        for role in self.roles:
            for name, parameter in networks[role].named_parameters():
                if not parameter.requires_grad:
                    continue
                factor = next((f for start, f in self.lr_factors if name.startswith(start)), 1.0)
                groups.setdefault(factor, []).append(parameter)
        return [{"params": params, "lr_factor": factor} for factor, params in groups.items()]


@dataclass(frozen=True)
class AdamSpec(OptimizerSpec):
    """Adam (Kingma & Ba, 2015)."""
    betas: tuple
    weight_decay: float = 0.0
    kind = "adam"


@dataclass(frozen=True)
class RMSpropSpec(OptimizerSpec):
    """RMSprop (Hinton, 2012); alpha: decay of the mean square per step."""
    alpha: float = 0.99
    weight_decay: float = 0.0
    kind = "rmsprop"


def optimizer_of(phase):
    """Returns the name of the optimizer that `phase` steps."""
    return phase.removesuffix("_reg")


class PrecisionNeeds:
    """Mixin for modules that need float32 parameters or buffers in mixed precision (utils/amp_state.py).

    O2 casts parameters and buffers to half, except batch norm's and those that these attributes select.
    """

    float32_parameters = False  # True: parameters and buffers of this module stay float32
    float32_buffers = ()  # names of buffers that stay float32 although the parameters become half


class ChecksWeights:
    """Mixin for networks that can explain why given weights do not fit (models/weights.py)."""

    def refusal(self, state):
        """Returns why the weights `state`, {key in the file: tensor}, do not fit this network, or None."""


class ExtendsWeights:
    """Mixin for networks that can start a training from the weights of a smaller form of themselves."""

    def extended(self, state):
        """Returns the weights `state`, {key: tensor}, with neutral values for the parts that only this network has."""
        raise NotImplementedError


class RecipeOptions:
    """The options of a recipe. Its file must not import torch: --help and errors in options need not wait for it.

    preset: name of the preset (options/presets) that holds the recipe's defaults; None: the options' own defaults.
    """

    preset = None

    @staticmethod
    def add_network_options(group):
        """Adds to an argparse group the options that define the generator or how it restores."""

    @staticmethod
    def add_training_options(group):
        """Adds to an argparse group the recipe's options that only training reads."""

    @staticmethod
    def unread(options):
        """Returns {name of an option: why} of those that a training with these options does not read."""
        return {}

    @staticmethod
    def unread_without(options, weight, part, names, note=""):
        """Returns what `unread` does, of the options `names` of a part of the loss that a weight of 0 leaves out."""
        return {} if getattr(options, weight) else dict.fromkeys(
            names, f"--{weight} is 0, which leaves the {part} out{note}")

    @staticmethod
    def complete(options, prior_counts):
        """Sets network options that were left unset.

        prior_counts: (heatmaps, parsing maps) per sample of the dataset, None for a dataset without priors.
        """


class BaseModel:
    """A recipe: its networks, losses and optimizers.

    Inference calls `build_generator(options)` and `restore`. Training calls `set_up_training(options)` after it, then
    `training_step` for each step. These attributes are filled by the two set-up methods:

    networks    {role: nn.Module}, all of which are saved; 'G' is the generator
    optimizers  {name: AdamSpec or RMSpropSpec}; a phase steps the optimizer of its name, and NAME_reg that of NAME
    ema_decay   {role: decay per step} of the networks whose weights are averaged
    frozen      {name: nn.Module} that losses pass through, neither trained nor saved
    state       {name: 0-d float tensor} that persists between lazy phases (e.g. mean path length); updated in place,
                averaged over the ranks after a step with such a phase, saved in checkpoints
    prior_maps  (heatmaps, parsing maps) that the generator outputs, or None
    """

    def __init__(self):
        self.networks, self.optimizers, self.ema_decay, self.frozen, self.state = {}, {}, {}, {}, {}
        self.prior_maps = None
        self._averages = {}

    def build_generator(self, options):
        """Sets networks['G'] and prior_maps. Raises UserError for options that do not fit together."""
        raise NotImplementedError

    def build_discriminator(self, options):
        """Sets networks['D'] if training has one. set_up_training calls it."""

    def check_restores(self):
        """Raises UserError if the generator that the options describe restores no faces."""

    def depends_on_batch(self):
        """Returns whether a restored face depends on the others in its batch."""
        return False

    def set_up_training(self, options):
        """Adds the other networks and sets first weights, optimizers, ema_decay, frozen and state."""
        raise NotImplementedError

    def training_step(self, batch, step):
        """Yields (phase, {loss name: 0-d tensor}) for each phase of this step, in order: G, G_reg, D, D_reg.

        The _reg phases (lazy regularisation) need not be in every step; which ones are depends on `step` alone.
        batch: {'lr', 'hr', ...: float32 NCHW RGB in [-1, 1]} on the device. The trainer calls backward on the
        sum of the yielded losses (they carry their weights) before it asks for the next phase.
        """
        raise NotImplementedError

    def restore(self, lr):
        """Returns the restored faces, [N, 3, H, W] RGB, about [-1, 1]; lr: low-resolution faces enlarged to H x W."""
        return self.released("G")(lr)

    def restore_with_priors(self, lr):
        """Returns (restore(lr), prior maps [N, C, H / 2, W / 2] in [-1, 1] or None); see `prior_maps`."""
        return self.restore(lr), None

    def pictures(self, batch):
        """Returns {title: [N, 3, H, W] in [-1, 1]}, the columns of a run's image grid, for the faces of `batch`."""
        sr = self.restore(batch["lr"])
        return {"LR": batch["lr"], "SR": sr, "HR": batch["hr"]}

    @contextlib.contextmanager
    def evaluating(self):
        """Sets all networks to eval mode within a `with` block, and back to their modes after it."""
        modes = {network: network.training for network in (*self.released_networks().values(), *self.networks.values())}
        for network in modes:
            network.eval()
        try:
            yield
        finally:
            for network, training in modes.items():
                network.train(training)

    # -- called by the trainer ------------------------------------------------------------------------------------

    def replace(self, networks):
        """Calls these modules {role: nn.Module} from now on, e.g. the networks wrapped for data parallelism."""
        self.networks = self.networks | networks

    def release(self, networks):
        """Restores with these modules {role: nn.Module}, e.g. averages or the unwrapped networks."""
        self._averages = dict(networks)

    def released(self, role="G"):
        """Returns the network of `role` that restoring uses: its average where there is one."""
        return self._averages.get(role, self.networks[role])

    def released_networks(self):
        """Returns {role: nn.Module}, what released() gives for every role."""
        return {role: self.released(role) for role in self.networks}
