# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Networks and recipes by name. They are imported on demand, so that no model imports another one's dependencies."""

import contextlib
from importlib import import_module

import utils  # noqa: F401 (sets environment variables that torch reads when it loads)
from utils.errors import UserError, nearest

# name: ("module:Class", constructor arguments). Released weights have the same names.
NETWORKS = {
    "sparnet_v16_attn2d": ("models.sparnet:SPARNet", {"res_depth": 10, "att_name": "spar"}),
    "sparnet_light_attn3d": ("models.sparnet:SPARNet", {"res_depth": 1, "att_name": "spar3d"}),
    # A quarter of the widths, for CPUs and quick trials; no released weights.
    "sparnet_compact": ("models.sparnet:SPARNet", {
        "min_ch": 8, "max_ch": 32, "hourglass_ch": 16, "res_depth": 2, "att_name": "spar"}),
    "sparnethd_attn2d": ("models.sparnethd:SPARNetHD", {"att_name": "spar"}),
    "sparnethd_attn3d": ("models.sparnethd:SPARNetHD", {"att_name": "spar3d"}),
    "sparnethd_discriminator": ("models.sparnethd:MultiScaleDiscriminator", {}),
    "fsrnet_celebamask": ("models.fsrnet:FSRNet", {"hmaps_ch": 0, "pmaps_ch": 11, "tied": True}),
    "fsrnet_helen": ("models.fsrnet:FSRNet", {"hmaps_ch": 194, "pmaps_ch": 9, "tied": True}),
    "fsrnet": ("models.fsrnet:FSRNet", {}),  # as in the paper; no released weights
    "fsrgan_discriminator": ("models.fsrnet:FSRGANDiscriminator", {}),
    "gpen_256_narrow": ("models.gpen:GPEN", {"size": 256, "channel_multiplier": 1, "narrow": 0.5}),
    "gpen_512": ("models.gpen:GPEN", {"size": 512}),
    "gpen_1024": ("models.gpen:GPEN", {"size": 1024}),
    "gpen_2048": ("models.gpen:GPEN", {"size": 2048}),
    "gpen_256_narrow_discriminator": ("models.gpen:Discriminator", {
        "size": 256, "channel_multiplier": 1, "narrow": 0.5}),
    "gpen_512_discriminator": ("models.gpen:Discriminator", {"size": 512}),
    "gpen_1024_discriminator": ("models.gpen:Discriminator", {"size": 1024}),
    "gpen_2048_discriminator": ("models.gpen:Discriminator", {"size": 2048}),
}

LARGEST = 1_000_000_000  # parameters of a recipe's networks; the largest published face network has 0.09 billion

# name: "module:Class" of a recipe, a subclass of models.base_model.BaseModel.
RECIPES = {
    "sparnet": "models.sparnet_model:SPARNetModel",
    "sparnethd": "models.sparnethd_model:SPARNetHDModel",
    "fsrnet": "models.fsrnet_model:FSRNetModel",  # and FSRGAN: --lambda_g
    "gpen": "models.gpen_model:GPENModel",
}

# name: "module:Class" of a recipe's options, a subclass of models.base_model.RecipeOptions.
RECIPE_OPTIONS = {
    "sparnet": "models.sparnet_options:SPARNetOptions",
    "sparnethd": "models.sparnethd_options:SPARNetHDOptions",
    "fsrnet": "models.fsrnet_options:FSRNetOptions",
    "gpen": "models.gpen_options:GPENOptions",
}


def _look_up(table, name, what):
    if name not in table:
        raise UserError(f"unknown {what} {name!r}; there are {', '.join(table)}." + nearest(str(name), table))
    return table[name]


def _import(target):
    module, attribute = target.split(":")
    return getattr(import_module(module), attribute)


def create_network(name, **overrides):
    """Builds the network called `name` (see NETWORKS) on the CPU, in float32, with torch's default weights.

    overrides: replace constructor arguments. Raises UserError, with the nearest name, if `name` is unknown.
    """
    target, arguments = _look_up(NETWORKS, name, "network")
    return _import(target)(**{**arguments, **overrides})


def find_recipe(name):
    """Returns the recipe class called `name` (see RECIPES). Raises UserError if it is unknown."""
    return _import(_look_up(RECIPES, name, "model"))


def find_recipe_options(name):
    """Returns the class of the options of the recipe called `name`, without torch. UserError if it is unknown."""
    return _import(_look_up(RECIPE_OPTIONS, name, "model"))


def build_recipe(options):
    """Returns the recipe that `options.model` names, ready to restore: its generator alone, on the CPU.

    options: the recipe's network options and load_size. Raises UserError for options that do not fit together.
    """
    check_size(options)
    return _with_generator(options)


def build_training_recipe(options):
    """Returns the recipe that `options.model` names, ready to train. Raises UserError as build_recipe does."""
    check_size(options, training=True)
    recipe = _with_generator(options)
    with _explaining(options):
        recipe.set_up_training(options)
    return recipe


def _with_generator(options):
    recipe = find_recipe(options.model)()
    with _explaining(options):
        recipe.build_generator(options)
    return recipe


def check_size(options, training=False):
    """Raises UserError if the networks that the options describe have more than LARGEST parameters.

    They are built on torch's device `meta`, which knows shapes only: counting takes neither memory nor long.
    training: counts the discriminator, too.
    """
    import torch  # not at the top: this module is imported for its names
    recipe = find_recipe(options.model)()
    with _explaining(options), torch.device("meta"):
        recipe.build_generator(options)
        if training:
            recipe.build_discriminator(options)
    count = sum(p.numel() for network in recipe.networks.values() for p in network.parameters())
    if count > LARGEST:
        raise UserError(f"--model {options.model}: networks of these options have {count:,} parameters; {LARGEST:,} "
                        f"are the limit. Reduce the options that set channels and blocks.")


@contextlib.contextmanager
def _explaining(options):
    """Turns a ValueError of a network's constructor into a UserError."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"--model {options.model}: the network cannot be built: {error}") from None
