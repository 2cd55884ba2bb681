# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of newtest.py."""
from pathlib import Path

from metrics.protocols import PROTOCOLS, USUAL, check_size, choose_protocols
from options.base_options import FLOAT32_ONLY, add_common, new_parser, refuse_unread
from options.train_options import train_parser
from options.weights_options import add_network, add_weights, find_source, parse_described
from utils.errors import UserError
from utils.onnx_file import RUNTIMES, SUFFIX
from utils.option_types import BATCH, SIZE, at_least, one_of


def test_parser(model):
    """Returns (parser of newtest.py for the recipe named `model`, names of the options that are read from files)."""
    parser = new_parser("newtest.py", "Restore a folder of faces and, given references, score them under every "
                        "protocol.")
    run, data = add_common(parser)
    run.add_argument("--results_dir", "--save_as_dir", "--output_path", default="results",
                     help="output folder: images go into RESULTS_DIR/NAME/restored, scores into scores.json beside it")
    run.add_argument("--runtime", choices=RUNTIMES, default=None,
                     help="what computes an .onnx file of newexport.py, on the CPU: onnx (ONNX Runtime) or openvino; "
                          "default: onnx for such a file, torch for weights")
    parser.set_defaults(opt_level="O0")
    add_weights(data)
    data.add_argument("--dataroot", "--data_path", "--data_url", default=None,
                      help="folder of faces to restore; for --dataset_name seg2face of maps to make faces of; default: "
                           "the inputs are made from --gtroot")
    data.add_argument("--gtroot", default=None,
                      help="folder of references to score against; without --dataroot the faces to restore are made "
                           "from them, too; default: nothing is scored")
    data.add_argument("--batch_size", type=at_least(1, largest=BATCH), default=16,
                      help="faces that are restored at a time, per device")
    data.add_argument("--max_images", type=at_least(1), default=None,
                      help="greatest number of faces to restore, the first ones; default: all")
    scores = parser.add_argument_group("PSNR and SSIM (metrics/protocols.py)")
    scores.add_argument("--protocols", type=one_of(PROTOCOLS), nargs="+", default=None,
                        help="protocols of PSNR and SSIM that the faces are scored under, of "
                             f"{', '.join(PROTOCOLS)}; default: {' '.join(USUAL)}; for "
                             "colorization, whose input has the luma of the face, rgb")
    scores.add_argument("--crop_border", type=at_least(0, largest=SIZE // 2), default=0,
                        help="pixels that protocols basicsr_y and basicsr_rgb leave out at each side; other protocols "
                             "have a border of their own")
    scores.add_argument("--report", action="store_true",
                        help="also score groups of faces, by size, skin tone, pose and cut: report.md, and show "
                             "those that gained least: worst.png; default: no")
    metrics = parser.add_argument_group("metrics beside PSNR and SSIM (metrics/perceptual.py)")
    metrics.add_argument("--lpips_path", default=None,
                         help="weights file of AlexNet for LPIPS, or of ST-LPIPS; default: neither is computed")
    metrics.add_argument("--identity_path", default=None,
                         help="weights file of a face embedding for identity similarity; default: it is not computed")
    metrics.add_argument("--fid_path", default=None,
                         help="weights file of Inception for FID; default: FID is not computed")
    metrics.add_argument("--fid_reference", default=None,
                         help="folder of faces that FID compares the restored ones with; default: --gtroot")
    shape = add_network(parser, model)
    return parser, shape


def parse_test(argv):
    """Returns the options of newtest.py. Raises UserError for unknown, malformed or contradictory options."""
    source = find_source(argv, may_choose=True)
    parser, shape = test_parser(source.model)
    options = parse_described(parser, argv, source, shape,
                              elsewhere=train_parser(source.model)._option_string_actions)
    if options.runtime and Path(options.pretrain_model_path).suffix != SUFFIX:
        raise UserError(f"--runtime {options.runtime} computes an {SUFFIX} file of newexport.py: give one as "
                        f"--pth_path, or leave out --runtime.")
    if not options.dataroot and not options.gtroot:
        raise UserError("nothing to do: give --dataroot (faces to restore), --gtroot (references), or both.")
    if options.protocols is None:
        options.protocols = ["rgb"] if options.dataset_name == "colorization" else list(USUAL)
    unread = {"amp_dtype": FLOAT32_ONLY} if options.opt_level == "O0" else {}
    if not options.gtroot:
        unread["protocols"] = unread["report"] = "without --gtroot nothing is scored"
    refuse_unread(parser, argv, options, {}, unread)
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
    return options
