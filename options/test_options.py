# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of newtest.py."""
import os
from pathlib import Path

from data import prior_counts
from metrics.protocols import PROTOCOLS, USUAL, check_size, choose_protocols
from models import find_recipe_options
from options.base_options import add_common, new_parser, parse, peek, peek_model, set_recipe_defaults
from options.presets import read_options
from options.train_options import train_parser
from restore.description import OPTIONS_FILE, read_metadata
from utils.errors import UserError
from utils.option_types import BATCH, SIZE, at_least, one_of
from utils.pretrained import find_pretrained, pretrained_names

# Options that define the network and its inputs; read from the run's options.yml.
SHAPE_OPTIONS = {"model", "load_size", "scale_factor", "dataset_name", "degradation", "priors"}


def test_parser(model):
    """Returns (parser of newtest.py for the recipe named `model`, names of the options that are read from files)."""
    parser = new_parser("newtest.py", "Restore a folder of faces and, given references, score them under every "
                        "protocol.")
    run, data = add_common(parser)
    run.add_argument("--results_dir", "--save_as_dir", "--output_path", default="results",
                     help="output folder: images go into RESULTS_DIR/NAME/restored, scores into scores.json beside it")
    parser.set_defaults(opt_level="O0")
    data.add_argument("--pretrain_model_path", "--pth_path", default=None,
                      help="weights file of the generator; its metadata (.safetensors) or an options.yml in its folder "
                           "says how the network is built; default: none, --pretrained is then needed")
    data.add_argument("--pretrained", default=None,
                      help="weights that ship with the project, in place of --pth_path: "
                           + ", ".join(pretrained_names()) + "; default: none")
    data.add_argument("--dataroot", "--data_path", "--data_url", default=None,
                      help="folder of faces to restore; for --dataset_name seg2face of maps to make faces of; default: "
                           "the inputs are made from --gtroot")
    data.add_argument("--gtroot", default=None,
                      help="folder of references to score against; without --dataroot the faces to restore are made "
                           "from them, too; default: nothing is scored")
    data.add_argument("--dataset_name", default="celeba",
                      help="which faces are found below --gtroot, which square of an image is the face, and which "
                           "priors belong to it: celeba, ffhq, celebamask, helen, landmarks68, builtin, seg2face, or "
                           "names of these with a --degradation: blind, blind_hard, colorization, inpainting, "
                           "face128")
    data.add_argument("--batch_size", type=at_least(1, largest=BATCH), default=16,
                      help="faces that are restored at a time, per device")
    data.add_argument("--max_images", type=at_least(1), default=None,
                      help="greatest number of faces to restore, the first ones; default: all")
    scores = parser.add_argument_group("PSNR and SSIM (metrics/protocols.py)")
    scores.add_argument("--protocols", type=one_of(PROTOCOLS), nargs="+", default=list(USUAL),
                        help="protocols of PSNR and SSIM that the faces are scored under, of "
                             f"{', '.join(PROTOCOLS)}; default: {' '.join(USUAL)}")
    scores.add_argument("--crop_border", type=at_least(0, largest=SIZE // 2), default=0,
                        help="pixels that protocols basicsr_y and basicsr_rgb leave out at each side; other protocols "
                             "have a border of their own")
    metrics = parser.add_argument_group("metrics beside PSNR and SSIM (metrics/perceptual.py)")
    metrics.add_argument("--lpips_path", default=None,
                         help="weights file of AlexNet for LPIPS; default: LPIPS is not computed")
    metrics.add_argument("--identity_path", default=None,
                         help="weights file of a face embedding for identity similarity; default: it is not computed")
    metrics.add_argument("--fid_path", default=None,
                         help="weights file of Inception for FID; default: FID is not computed")
    metrics.add_argument("--fid_reference", default=None,
                         help="folder of faces that FID compares the restored ones with; default: --gtroot")
    recipe = parser.add_argument_group(f"network of recipe {model}")
    find_recipe_options(model).add_network_options(recipe)
    shape = {action.dest for action in recipe._group_actions} | SHAPE_OPTIONS
    set_recipe_defaults(parser, find_recipe_options(model), shape)
    return parser, shape


def parse_test(argv):
    """Returns the options of newtest.py. Raises UserError for unknown, malformed or contradictory options."""
    weights = peek(argv, "pretrain_model_path", "pth_path")
    pretrained = peek(argv, "pretrained")
    if pretrained and weights:
        raise UserError("--pretrained and --pth_path contradict each other: give one of them.")
    if pretrained:
        weights = os.path.relpath(find_pretrained(pretrained))
    path = Path(weights or "").parent / OPTIONS_FILE
    described = read_metadata(weights) if weights else None
    beside = read_options(path) if weights and not described and os.path.isfile(path) else {}
    asked = any(peek(argv, option) for option in ("model", "preset"))
    model = described.model if described and not asked else peek_model(argv, beside)
    parser, shape = test_parser(model)
    if described:
        parser.set_defaults(**{k: v for k, v in vars(described.options()).items() if k in shape})
    options = parse(parser, argv, beside, only=shape, elsewhere=train_parser(model)._option_string_actions)
    if not weights:
        raise UserError("which weights? Give --pth_path FILE or --pretrained NAME.")
    options.pretrain_model_path = str(weights)
    if not options.dataroot and not options.gtroot:
        raise UserError("nothing to do: give --dataroot (faces to restore), --gtroot (references), or both.")
    protocols = choose_protocols(options.protocols, options.crop_border)
    if options.crop_border and not any(protocol.sets_crop for protocol in protocols):
        raise UserError("--crop_border is of use with --protocols basicsr_y or basicsr_rgb only.")
    if options.gtroot:
        check_size(protocols, options.load_size, "--protocols")
    for option in ("lpips_path", "identity_path"):
        if getattr(options, option) and not options.gtroot:
            raise UserError(f"--{option} compares with references: give --gtroot FOLDER.")
    if options.fid_path and not (options.gtroot or options.fid_reference):
        raise UserError("--fid_path compares with other faces: give --gtroot or --fid_reference FOLDER.")
    if options.fid_reference and not options.fid_path:
        raise UserError("--fid_reference is of use with --fid_path FILE only.")
    find_recipe_options(options.model).complete(options, prior_counts(options))
    if options.name is None:
        options.name = pretrained or (path.resolve().parent.name if os.path.isfile(path) else Path(weights).stem)
    return options
