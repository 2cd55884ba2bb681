# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of newtrain.py. The defaults are SPARNet's published configuration (16 -> 128, Attn2D)."""
from pathlib import Path

from data import AUGMENTATIONS, prior_counts, unread_by_data
from engine.schedule import LR_SCALES, POLICIES
from metrics.protocols import PROTOCOLS, check_size, protocol_named
from models import find_recipe_options
from options.base_options import (
    FLOAT32_ONLY,
    add_common,
    new_parser,
    parse,
    peek_model,
    refuse_unread,
    set_recipe_defaults,
)
from utils.errors import UserError
from utils.option_types import (
    BATCH,
    RATE,
    SECONDS,
    at_least,
    augmentation,
    below_one,
    boolean,
    loss_scale,
    profile_steps,
)

MOST_DECAYS = 100  # of --lr_decay_at
# {option: values of --lr_policy that read it}
POLICIES_THAT_READ = {"lr_decay_at": ("step",), "lr_gamma": ("step",), "lr_final": ("cosine", "linear")}
PUBLISHED_NAME = "SPARNet_S16_V4_Attn2D"  # the published run's name


def train_parser(model):
    """Returns the parser for training with the recipe named `model`."""
    parser = new_parser("newtrain.py", "Train a face super-resolution network; prints FPS and PSNR, writes "
                        "checkpoints and images.")
    run, data = add_common(parser)
    run.add_argument("--checkpoints_dir", "--output_path", "--train_url", default="check_points",
                     help="output folder of all runs; a run writes into CHECKPOINTS_DIR/NAME")
    _add_data(data)
    _add_length(parser.add_argument_group("length and learning rate"))
    precision = parser.add_argument_group("mixed precision (utils/amp.py)")
    precision.add_argument("--loss_scale", type=loss_scale, default=128.0,
                           help="factor of the loss before backward, against underflow in half precision: a number, or "
                                "dynamic")
    precision.add_argument("--combine_grad", type=boolean, nargs="?", const=True, default=True,
                           help="keep weights, gradients and the optimizer's states in flat tensors: several devices "
                                "then average one flat gradient, otherwise DistributedDataParallel's buckets")
    precision.add_argument("--max_grad_norm", type=at_least(0, float, RATE), default=0.0,
                           help="total norm to which gradients are clipped; 0: no clipping")
    _add_saves(parser.add_argument_group("log and checkpoints"))
    recipe = find_recipe_options(model)
    recipe.add_network_options(parser.add_argument_group(f"network of recipe {model}"))
    recipe.add_training_options(parser.add_argument_group(f"training of recipe {model}"))
    set_recipe_defaults(parser, recipe)
    return parser


def _add_data(group):
    group.add_argument("--dataroot", "--data_path", "--data_url", default="../celeba_crop_train",
                       help="folder of faces to train on, nested folders included")
    group.add_argument("--dataset_name", default="celeba",
                       help="which faces are found below --dataroot, which square of an image is the face, and which "
                            "priors belong to it: celeba, ffhq, celebamask, helen, landmarks68, builtin, seg2face, or "
                            "names of these with a --degradation: blind, blind_hard, colorization, inpainting, "
                            "face128")
    group.add_argument("--augmentation", type=augmentation, choices=AUGMENTATIONS, default="fixed",
                       help="random flip and crop of the training faces: as published with the crop's fault fixed, as "
                            "published (upstream), a random shift, scale and rotation (aligned, for celeba and "
                            "face128), or none; datasets with a --cache_folder only flip")
    group.add_argument("--cache_folder", default=None,
                       help="folder to keep faces in that were resized once (0.8 MB per face at 512 pixels), for "
                            "--dataset_name ffhq, blind, blind_hard, colorization, inpainting and seg2face; default: "
                            "faces are resized anew each time")
    group.add_argument("--valroot", default=None,
                       help="folder of faces to validate on after every epoch; default: those of --val_count")
    group.add_argument("--val_count", type=at_least(0), default=0,
                       help="number of faces of --dataroot that are held out and validated on after every epoch")
    group.add_argument("--val_max", type=at_least(1), default=None,
                       help="greatest number of faces to validate on, evenly spread over --valroot or those held out; "
                            "default: all")
    group.add_argument("--val_protocol", choices=sorted(PROTOCOLS), default="sparnet",
                       help="protocol of PSNR and SSIM in validation (metrics/protocols.py)")
    group.add_argument("--val_batch_size", type=at_least(1, largest=BATCH), default=16,
                       help="faces that validation restores at a time")


def _add_length(group):
    group.add_argument("--batch_size", type=at_least(1, largest=BATCH), default=32, help="faces per batch and device")
    group.add_argument("--accumulate", type=at_least(1, largest=BATCH), default=1,
                       help="batches whose gradients are averaged for one step of the optimizer")
    group.add_argument("--total_epochs", type=at_least(1), default=20,
                       help="length of the training in passes over the data")
    group.add_argument("--train_steps", type=at_least(1), default=None,
                       help="length of the training in steps, in place of --total_epochs; default: --total_epochs "
                            "decides")
    group.add_argument("--max_minutes", type=at_least(0.0, float, SECONDS), default=0.0,
                       help="minutes after which this call saves and ends; the learning rate's schedule remains that "
                            "of the whole training, and --continue_train goes on; 0: no limit")
    group.add_argument("--lr", type=at_least(0, float, RATE), default=0.0002,
                       help="base learning rate, of the generator where there is a discriminator, too")
    group.add_argument("--lr_policy", choices=POLICIES, default="constant",
                       help="how the learning rate changes during the training; step: times --lr_gamma at each of "
                            "--lr_decay_at; cosine, linear: down to --lr_final")
    group.add_argument("--lr_decay_at", type=at_least(0, float, 1), nargs="+", default=[0.5, 0.75, 0.9],
                       metavar="FRACTION",
                       help="fractions of the training at which --lr_policy step multiplies the learning rate by "
                            "--lr_gamma")
    group.add_argument("--lr_gamma", type=at_least(0, float, 1000), default=0.5,
                       help="factor of the learning rate at each of --lr_decay_at, for --lr_policy step")
    group.add_argument("--lr_final", type=at_least(0, float, 1000), default=0.0,
                       help="learning rate of the last step as a share of --lr, for --lr_policy cosine and linear")
    group.add_argument("--warmup_steps", type=at_least(0), default=0,
                       help="steps in which the learning rate first rises linearly from near 0")
    group.add_argument("--beta1", type=below_one, default=0.9,
                       help="Adam's beta1, the decay per step of its mean gradient")
    group.add_argument("--beta2", type=below_one, default=0.99,
                       help="Adam's beta2, the decay per step of its mean squared gradient")
    group.add_argument("--weight_decay", type=at_least(0, float), default=0.0,
                       help="factor of the weights that the optimizer adds to their gradients (L2)")
    group.add_argument("--ema_decay", type=below_one, default=0.0,
                       help="decay per step of the generator's averaged weights, which are validated and released; 0: "
                            "no average is kept")
    group.add_argument("--seed", type=at_least(0, largest=2**63 - 1), default=123,
                       help="seed of first weights, of the order of faces and of augmentation")
    group.add_argument("--scale_lr", choices=list(LR_SCALES), default="none",
                       help="factor of --lr where there are several devices: their number (linear), its square root "
                            "(sqrt), or 1 (none)")
    group.add_argument("--sync_bn", action="store_true",
                       help="compute batch norm's statistics over the batches of all devices; default: over each "
                            "device's own")


def _add_saves(group):
    group.add_argument("--continue_train", action="store_true",
                       help="resume from the newest checkpoint of the run --name; default: start a new run")
    group.add_argument("--pretrain_model_path", "--pth_path", default=None,
                       help="weights file of a generator to start from (fine-tuning); default: random first weights")
    group.add_argument("--pretrain_d_path", default=None,
                       help="weights file of a discriminator to start from; default: random first weights")
    group.add_argument("--rank_logs", action="store_true",
                       help="print the log lines of all ranks, for launchers that keep one file per rank; default: "
                            "rank 0's only")
    group.add_argument("--print_freq", type=at_least(1), default=10, help="steps from one log line to the next")
    group.add_argument("--visual_freq", type=at_least(1), default=100,
                       help="steps from one image in tensorboard to the next")
    group.add_argument("--save_latest_freq", type=at_least(1), default=500,
                       help="steps from one complete checkpoint to the next")
    group.add_argument("--save_iter_freq", type=at_least(1), default=10000,
                       help="steps from one weights file that is kept (iter_N_net_G.pth) to the next")
    group.add_argument("--profile_steps", type=profile_steps, default=None,
                       help="steps FROM:TO, counted from 1, whose work on the host and the device is recorded for "
                            "tensorboard in the run's folder profile/; default: none")
    group.add_argument("--keep_checkpoints", type=at_least(1), default=2,
                       help="number of complete checkpoints that are kept, the newest ones")


def parse_train(argv):
    """Returns the options of a training run. Raises UserError for unknown, malformed, contradictory or unread ones."""
    parser = train_parser(peek_model(argv))
    options = parse(parser, argv)
    if options.valroot and options.val_count:
        raise UserError("--valroot and --val_count contradict each other: give one of them.")
    if options.valroot or options.val_count:
        check_size([protocol_named(options.val_protocol)], options.load_size, "--val_protocol")
    decays = len(options.lr_decay_at)
    if decays > MOST_DECAYS or options.lr * options.lr_gamma ** decays > RATE:
        raise UserError(f"--lr_decay_at: {decays} times --lr_gamma {options.lr_gamma:g} makes --lr {options.lr:g} "
                        f"larger than {RATE:g}, or there are more than {MOST_DECAYS}; give fewer or smaller ones.")
    recipe = find_recipe_options(options.model)
    recipe.complete(options, prior_counts(options))
    refuse_unread(parser, argv, options, _unread(options) | recipe.unread(options), _unread_here(options))
    if options.name is None:
        options.name = Path(options.preset or recipe.preset or PUBLISHED_NAME).stem
    return options


def _unread(options):
    """Returns {option name: reason} of the options, common to all recipes, that this training does not read."""
    return unread_by_data(options) | {
        option: f"--lr_policy is {options.lr_policy}, only {' and '.join(policies)} read{'s' * (len(policies) == 1)} it"
        for option, policies in POLICIES_THAT_READ.items() if options.lr_policy not in policies}


def _unread_here(options):
    """Returns {option name: reason} of those that nothing reads in this call; a file may set them for others."""
    found = dict.fromkeys(("amp_dtype", "loss_scale"), FLOAT32_ONLY) if options.opt_level == "O0" else {}
    if not (options.valroot or options.val_count):
        found |= dict.fromkeys(("val_max", "val_protocol", "val_batch_size"),
                               "without --valroot or --val_count nothing is validated on")
    return found
