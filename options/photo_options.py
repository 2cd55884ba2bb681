# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of newphoto.py."""
from options.base_options import add_device, new_parser, parse_words
from restore.choice import AUTO
from restore.photo_choices import ANGLES, PASTES, UPSCALES, WHICH
from restore.photo_weights import photo_names, photo_weights
from utils.errors import UserError
from utils.option_types import at_least

LONGEST = 100_000  # pixels


def photo_parser():
    """Returns the parser of newphoto.py."""
    parser = new_parser("newphoto.py PHOTO_OR_FOLDER", "Restore the faces in photos and videos and put them back; "
                        "all else stays as it is.")
    parser.add_argument("photos", metavar="PHOTO_OR_FOLDER",
                        help="a photo or video, or a folder that is searched for both; videos need ffmpeg")
    parser.add_argument("--output_path", "--output", "-o", default="results/photos",
                        help="output folder: the files under their own names, in the same subfolders")
    parser.add_argument("--pretrained", default=None,
                        help=f"weights that ship with the project: {', '.join(photo_names())}; or {AUTO}: for "
                             f"each face those that fit its size; default: {AUTO}")
    parser.add_argument("--pth_path", "--pretrain_model_path", default=None,
                        help="own weights, in place of --pretrained: .safetensors, .pth with its options.yml beside "
                             "it, or an .onnx file of newexport.py; default: none")
    parser.add_argument("--upscale", type=at_least(1), choices=UPSCALES, default=1,
                        help="factor by which photos are enlarged")
    parser.add_argument("--bg_path", default=None,
                        help="weights of an RRDBNet (ESRGAN, Real-ESRGAN x4; .pth or .safetensors) that enlarges the "
                             "photo around the faces; with --upscale 2 or 4; default: none, bicubic")
    parser.add_argument("--paste", choices=PASTES, default=PASTES[0],
                        help="delta adds what the network changed, and keeps the photo's own detail; crop replaces the "
                             "face")
    parser.add_argument("--fidelity", type=at_least(0.0, float, 1.0), default=0.0,
                        help="0: the restored face; 1: the photo's own; between: a blend of both")
    parser.add_argument("--faces", choices=WHICH, default=WHICH[0], help="which faces of a photo are restored")
    parser.add_argument("--angles", choices=ANGLES, default=ANGLES[0],
                        help="how heads may be turned: 0 finds those up to about 30 degrees, all every one, in about "
                             "four times the time")
    parser.add_argument("--min_face", type=at_least(1.0, float, LONGEST), default=None,
                        help="smallest side in pixels of a face's square that is restored; default: what the weights "
                             "can improve")
    parser.add_argument("--max_face", type=at_least(1.0, float, LONGEST), default=None,
                        help="largest side in pixels of a face's square that is restored; default: what the weights "
                             "can improve")
    parser.add_argument("--save_faces", action="store_true",
                        help="also write each face before and after, into OUTPUT_PATH/newphoto/faces; default: no")
    parser.add_argument("--report", action="store_true",
                        help="also write OUTPUT_PATH/newphoto/report.json: what became of every photo, those that were "
                             "skipped too, for programs; default: no, each photo has its own report in reports/")
    add_device(parser)
    parser.add_argument("--again", action="store_true",
                        help="restore all files of a folder; default: those that were finished with the same weights "
                             "and options are skipped")
    return parser


def parse_photo(argv):
    """Returns the options of newphoto.py, with `weights`: {name: path}. Raises UserError for what cannot be used."""
    options = parse_words(photo_parser(), argv)
    if options.bg_path and options.upscale == 1:
        raise UserError("--bg_path enlarges photos: give --upscale 2 or 4 with it.")
    if options.min_face and options.max_face and options.min_face > options.max_face:
        raise UserError(f"--min_face {options.min_face:g} is above --max_face {options.max_face:g}: no face is "
                        f"between.")
    options.weights = photo_weights(options.pretrained, options.pth_path)
    return options
