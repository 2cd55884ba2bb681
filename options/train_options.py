"""Options of newtrain.py. Its defaults are the published seed configuration of SPARNet (16 -> 128, Attn2D)."""
from pathlib import Path

from models import find_recipe
from options.base_options import (
    add_common,
    at_least,
    below_one,
    boolean,
    loss_scale,
    new_parser,
    parse,
    peek_model,
    set_recipe_defaults,
)
from utils.errors import UserError
from utils.metrics import PROTOCOLS
from utils.schedule import LR_SCALES, POLICIES

# Which --lr_policy reads an option that the others do not.
READ_BY = {"lr_decay_at": ("step",), "lr_gamma": ("step",), "lr_final": ("cosine", "linear")}
PUBLISHED_NAME = "SPARNet_S16_V4_Attn2D"  # of the seed configuration's run


def train_parser(model):
    """The parser for training with the recipe named `model`."""
    parser = new_parser("newtrain.py", "Train a face super-resolution network; prints FPS and PSNR, writes "
                        "checkpoints and pictures.")
    run, data = add_common(parser)
    run.add_argument("--checkpoints_dir", "--output_path", "--train_url", default="check_points",
                     help="the output folder that holds the runs' folders")
    data.add_argument("--dataroot", "--data_path", "--data_url", default="../celeba_crop_train",
                      help="folder of faces to train on, nested folders included")
    data.add_argument("--dataset_name", default="celeba", help="how to read it, a name in data/__init__.py")
    data.add_argument("--augmentation", choices=["aligned", "mended", "upstream", "none"], default="mended",
                      help="flip and random crop as published, with the crop fault mended or kept; aligned, of celeba "
                           "and face128: flip, shift, turn and scale (data/augment.py); datasets with a "
                           "--cache_folder only flip")
    data.add_argument("--cache_folder", default=None,
                      help="of --dataset_name ffhq, blind, blind_hard, colorization, inpainting and seg2face: a "
                           "folder to keep the faces in, resized once (0.8 MB each at 512 pixels)")
    data.add_argument("--valroot", default=None, help="folder of faces to validate on after every epoch")
    data.add_argument("--val_count", type=at_least(0), default=0,
                      help="without --valroot: hold out so many of the dataroot's faces and validate on them")
    data.add_argument("--val_max", type=at_least(1), default=None,
                      help="validate on at most so many faces, evenly spread over --valroot; unset: on all")
    data.add_argument("--val_protocol", choices=sorted(PROTOCOLS), default="sparnet",
                      help="how PSNR and SSIM are measured (utils/metrics.py)")
    data.add_argument("--val_batch_size", type=at_least(1), default=16, help="faces restored at a time")

    length = parser.add_argument_group("length and learning rate")
    length.add_argument("--batch_size", type=at_least(1), default=32, help="faces a step, per device")
    length.add_argument("--accumulate", type=at_least(1), default=1, help="batches added up to one step")
    length.add_argument("--total_epochs", type=at_least(1), default=20, help="passes over the data")
    length.add_argument("--train_steps", type=at_least(1), default=None, help="stop after so many steps instead")
    length.add_argument("--max_minutes", type=at_least(0.0, float), default=0.0,
                        help="save and end after so many minutes of this call, the schedule being that of the whole "
                             "length; --continue_train goes on; 0: no limit")
    length.add_argument("--lr", type=at_least(0, float), default=0.0002, help="base learning rate")
    length.add_argument("--lr_policy", choices=POLICIES, default="constant",
                        help="how it changes; step: halved at 50, 75 and 90 %% of the run (see --lr_decay_at)")
    length.add_argument("--lr_decay_at", type=at_least(0, float, 1), nargs="+", default=[0.5, 0.75, 0.9],
                        metavar="FRACTION", help="of the run: where the step policy multiplies by --lr_gamma")
    length.add_argument("--lr_gamma", type=at_least(0, float), default=0.5, help="factor of the step policy")
    length.add_argument("--lr_final", type=at_least(0, float), default=0.0,
                        help="of cosine and linear: the last learning rate as a share of --lr")
    length.add_argument("--warmup_steps", type=at_least(0), default=0, help="steps of linear rise from near 0")
    length.add_argument("--beta1", type=below_one, default=0.9, help="of Adam")
    length.add_argument("--beta2", type=below_one, default=0.99, help="of Adam")
    length.add_argument("--weight_decay", type=at_least(0, float), default=0.0, help="of the optimizer (L2)")
    length.add_argument("--ema_decay", type=below_one, default=0.0,
                        help="keep an average of the weights with this decay a step, and validate it; 0: none")
    length.add_argument("--seed", type=at_least(0, largest=2**63 - 1), default=123,
                        help="of weights, order and augmentation")
    length.add_argument("--scale_lr", choices=list(LR_SCALES), default="none",
                        help="multiply --lr for several devices: by their number, by its root, or not")

    length.add_argument("--sync_bn", action="store_true", help="batch norm's statistics over all devices' batches")

    precision = parser.add_argument_group("mixed precision (utils/amp.py)")
    precision.add_argument("--loss_scale", type=loss_scale, default=128.0, help="a number, or dynamic")
    precision.add_argument("--combine_grad", type=boolean, nargs="?", const=True, default=True,
                           help="keep weights, gradients and the optimizer's states in flat tensors; several devices "
                                "then average one flat gradient, otherwise DistributedDataParallel's buckets")
    precision.add_argument("--max_grad_norm", type=at_least(0, float), default=0.0,
                           help="clip gradients to this total norm; 0: no clipping")

    saves = parser.add_argument_group("log and checkpoints")
    saves.add_argument("--continue_train", action="store_true",
                       help="go on from the newest checkpoint of the run named --name")
    saves.add_argument("--pretrain_model_path", "--pth_path", default=None,
                       help="start from these generator weights (fine-tuning)")
    saves.add_argument("--pretrain_d_path", default=None, help="start from these discriminator weights")
    saves.add_argument("--rank_logs", action="store_true",
                       help="ranks other than 0 print their log lines, too: for launchers that keep a file a rank")
    saves.add_argument("--print_freq", type=at_least(1), default=10, help="steps between log lines")
    saves.add_argument("--visual_freq", type=at_least(1), default=100, help="steps between tensorboard pictures")
    saves.add_argument("--save_latest_freq", type=at_least(1), default=500, help="steps between checkpoints")
    saves.add_argument("--save_iter_freq", type=at_least(1), default=10000,
                       help="steps between weights that are kept (iter_N_net_G.pth)")
    saves.add_argument("--keep_checkpoints", type=at_least(1), default=2, help="newest complete checkpoints kept")
    find_recipe(model).add_options(parser.add_argument_group(f"recipe {model}"))
    set_recipe_defaults(parser, find_recipe(model))
    return parser


def parse_train(argv):
    """The options of a training run. UserError for unknown, badly formed or contradictory ones."""
    options = parse(train_parser(peek_model(argv)), argv)
    if options.valroot and options.val_count:
        raise UserError("--valroot and --val_count contradict each other: give one of them.")
    for option, policies in READ_BY.items():  # on the command line: of a preset's, another --lr_policy leaves them over
        if options.lr_policy not in policies and any(word.split("=")[0] == f"--{option}" for word in argv):
            raise UserError(f"--{option} is read by --lr_policy {' and '.join(policies)} only; this training's is "
                            f"{options.lr_policy}.")
    recipe = find_recipe(options.model)
    recipe.complete(options)
    if options.name is None:
        options.name = Path(options.preset or recipe.preset or PUBLISHED_NAME).stem
    return options
