"""Options of newtest.py."""
import os
from pathlib import Path

from data import prior_counts
from models import find_recipe
from options.base_options import add_common, file_words, new_parser, parse, peek, peek_model, set_recipe_defaults
from restore.description import read_metadata
from utils.errors import UserError
from utils.option_types import at_least
from utils.pretrained import find_pretrained, pretrained_names

# What a network is built from; taken from the run's options.yml, so that they need not be said again.
SHAPE_OPTIONS = {"model", "load_size", "scale_factor", "dataset_name", "priors"}


def test_parser(model):
    """The parser for restoring with the recipe named `model`."""
    parser = new_parser("newtest.py", "Restore a folder of faces and, given references, score them under every "
                        "protocol.")
    run, data = add_common(parser)
    run.add_argument("--results_dir", "--save_as_dir", "--output_path", default="results",
                     help="the output folder: pictures go into <it>/<name>/restored, scores into scores.json there")
    parser.set_defaults(opt_level="O0")
    data.add_argument("--pretrain_model_path", "--pth_path", default=None,
                      help="generator weights; their metadata (.safetensors) or an options.yml beside them says how "
                           "the network is built")
    data.add_argument("--pretrained", default=None, help="in place of --pth_path: weights that ship with the project: "
                      + ", ".join(pretrained_names()))
    data.add_argument("--dataroot", "--data_path", "--data_url", default=None,
                      help="folder of faces to restore, or of what else --dataset_name makes faces of (seg2face: maps)")
    data.add_argument("--gtroot", default=None,
                      help="folder of references; without --dataroot the faces to restore are made from them, as "
                           "--dataset_name does it (celeba: PIL BICUBIC, as the protocols have it)")
    data.add_argument("--dataset_name", default="celeba",
                      help="how faces are made bad where there are only references, a name in data/__init__.py")
    data.add_argument("--batch_size", type=at_least(1), default=16, help="faces restored at a time")
    data.add_argument("--max_images", type=at_least(1), default=None, help="only the first so many faces")
    metrics = parser.add_argument_group("metrics beside PSNR and SSIM (metrics/perceptual.py)")
    metrics.add_argument("--lpips_path", default=None, help="AlexNet's weights: LPIPS")
    metrics.add_argument("--identity_path", default=None, help="a face embedding's weights: identity similarity")
    metrics.add_argument("--fid_path", default=None, help="Inception's weights: FID")
    metrics.add_argument("--fid_reference", default=None, help="faces that FID compares with; --gtroot if unset")
    recipe = parser.add_argument_group(f"network of recipe {model}")
    find_recipe(model).add_network_options(recipe)
    shape = {action.dest for action in recipe._group_actions} | SHAPE_OPTIONS
    set_recipe_defaults(parser, find_recipe(model), shape)
    return parser, shape


def parse_test(argv):
    """The options of newtest.py. UserError for unknown, badly formed or contradictory ones."""
    weights = peek(argv, "pretrain_model_path", "pth_path")
    pretrained = peek(argv, "pretrained")
    if pretrained and weights:
        raise UserError("--pretrained and --pth_path contradict each other: give one of them.")
    if pretrained:
        weights = os.path.relpath(find_pretrained(pretrained))
    beside = Path(weights or "").parent / "options.yml"
    described = read_metadata(weights) if weights else None
    files = [beside] if weights and not described and beside.is_file() else []
    asked = any(peek(argv, option) for option in ("model", "preset"))
    parser, shape = test_parser(described.model if described and not asked else peek_model(argv, *files))
    if described:
        parser.set_defaults(**{k: v for k, v in vars(described.options()).items() if k in shape})
    words = [word for path in files for word in file_words(parser, path, shape)]
    options = parse(parser, argv, words, only=shape)
    if not weights:
        raise UserError("which weights? Give --pth_path FILE or --pretrained NAME.")
    options.pretrain_model_path = str(weights)
    if not options.dataroot and not options.gtroot:
        raise UserError("nothing to do: give --dataroot (faces to restore), --gtroot (references), or both.")
    for option in ("lpips_path", "identity_path"):
        if getattr(options, option) and not options.gtroot:
            raise UserError(f"--{option} compares with references: give --gtroot FOLDER.")
    if options.fid_path and not (options.gtroot or options.fid_reference):
        raise UserError("--fid_path compares with other faces: give --gtroot or --fid_reference FOLDER.")
    if options.fid_reference and not options.fid_path:
        raise UserError("--fid_reference is of use with --fid_path FILE only.")
    find_recipe(options.model).complete(options, prior_counts(options))
    if options.name is None:
        options.name = pretrained or (beside.resolve().parent.name if beside.is_file() else Path(weights).stem)
    return options
