"""The contract between the trainer and a recipe.

A recipe holds networks and losses. It knows nothing of devices, ranks, files, logging or precision: the
trainer moves the networks, wraps the optimizers, and does backward and step for every phase.
"""
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimizer: the roles of the networks it trains, and its numbers. A subclass says which kind it is.

    lr_factors: ((start of parameters' names, factor), ...), of those that learn at `factor` times the learning rate.
    """
    roles: tuple
    lr: float
    lr_factors: tuple = field(default=(), kw_only=True)

    def numbers(self):
        """{name: value} of what the optimizer itself takes."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("roles", "lr_factors")}

    def parameter_groups(self, networks):
        """torch's parameter groups, one for each learning rate, of {role: nn.Module}; lr_factor is in each.

        Parameters that are frozen (requires_grad false) are in none.
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
    """RMSprop (Hinton, 2012); alpha: how much of the mean square stays at each step."""
    alpha: float = 0.99
    weight_decay: float = 0.0
    kind = "rmsprop"


def optimizer_of(phase):
    """The name of the optimizer that `phase` steps."""
    return phase.removesuffix("_reg")


class BaseModel:
    """A recipe. A subclass sets in __init__(options):

    networks    {role: nn.Module}, all of which are saved; 'G' is the generator
    optimizers  {name: AdamSpec or RMSpropSpec}; a phase steps the optimizer of its name, and NAME_reg that of NAME
    ema_decay   {role: decay a step} of the networks that an average is kept of
    frozen      {name: nn.Module} that losses go through, neither trained nor saved; the trainer moves them as well
    state       {name: 0-d float tensor} of what a lazy phase leaves for later ones, to be changed in place: the
                trainer moves it, averages it over the ranks after a step with such a phase, and keeps it in checkpoints

    preset: name of the preset (options/presets) whose values are the recipe's defaults; None: those of the options.

    prior_maps: (heatmaps, parsing maps) that the networks have learned to estimate; None: none.

    The trainer sets `released`: {role: nn.Module}, the networks to restore with: averages where they are kept.
    """

    networks: dict
    optimizers: dict
    ema_decay: dict = {}
    frozen: dict = {}
    state: dict = {}
    preset = None
    prior_maps = None
    released: dict

    @staticmethod
    def add_options(group):
        """Add the recipe's own options to an argparse group."""

    @staticmethod
    def complete(options):
        """Fill in the recipe's own options that were left to follow others."""

    def training_step(self, batch, step):
        """Yield (phase, {loss name: 0-d tensor}) for each phase of this step, in order: G, G_reg, D, D_reg.

        The _reg ones (lazy regularisation) need not be in every step; which ones are depends on `step` alone.
        batch: {'lr', 'hr', ...: float32 NCHW RGB in [-1, 1]} on the device. The trainer calls backward on the
        sum of the yielded losses (they carry their weights) before it asks for the next phase.
        """
        raise NotImplementedError

    def restore(self, lr):
        """The super-resolved faces, [N, 3, H, W] RGB about [-1, 1], of low-resolution ones taken to H x W."""
        raise NotImplementedError

    def restore_with_priors(self, lr):
        """(as restore, the prior maps [N, C, H / 2, W / 2] in [-1, 1] that `prior_maps` tells of, or None)."""
        return self.restore(lr), None

    def pictures(self, batch):
        """{title: uint8 tensor or float NCHW RGB in [-1, 1]} for the picture grid, in the order shown.

        batch: as of training_step. newtest.py shows those of recipes with prior_maps, too, and has only 'lr' where
        there are no references.
        """
        raise NotImplementedError
