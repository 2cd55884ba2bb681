# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of newexport.py."""
import argparse
import os
import re

from deploy.choices import FEWEST, FORMATS, METHODS, OPSET, OPSETS, PRECISIONS, SOC
from options.base_options import add_inputs, add_model, new_parser
from options.weights_options import add_network, add_weights, find_source, parse_described
from utils.errors import UserError, shown
from utils.option_types import BATCH, at_least, check_name, file_path, list_of, one_of

ROUNDS = 15  # of the timing
SENSITIVE = 0.01  # dB
LARGEST_BATCH = min(64, BATCH)  # of a comparison in memory


def export_parser(model):
    """Returns (parser of newexport.py for the recipe named `model`, names of the options that are read from files)."""
    parser = new_parser("newexport.py", "Write trained weights as files that other programs run, each compared with "
                        "the network that it comes from.")
    run = add_model(parser)
    run.add_argument("--name", default=None,
                     help="first part of the files' names; default: the name of the weights or of their folder")
    run.add_argument("--formats", type=list_of(one_of(FORMATS)), default=["onnx"],
                     help=f"file formats, separated by commas: {', '.join(FORMATS)}; default: onnx")
    run.add_argument("--precision", type=list_of(one_of(PRECISIONS)), default=["fp32"],
                     help="precisions, separated by commas: fp32 (float32), fp16 (float16 with float32 input and "
                          "output), int8 (ONNX only, needs --calibroot); default: fp32")
    run.add_argument("--opset", type=at_least(OPSETS[0], largest=OPSETS[1]), default=OPSET,
                     help="version of ONNX's operators")
    run.add_argument("--batch", type=list_of(at_least(1, largest=LARGEST_BATCH)), default=[],
                     help="batch sizes, separated by commas, at which each file is compared with the network beside 1 "
                          "and 3; default: no others. The files take any batch")
    run.add_argument("--output_path", default=None, help="output folder; default: exports/NAME")
    run.add_argument("--soc_version", type=list_of(soc), default=[SOC],
                     help=f"Ascend processors, separated by commas, of the commands in OUT/ascend; default: {SOC}")
    add_int8(parser)
    add_evaluation(parser)
    add_weights(add_inputs(parser))
    return parser, add_network(parser, model)


def add_int8(parser):
    """Adds the options of --precision int8."""
    int8 = parser.add_argument_group("int8 (deploy/int8.py)")
    int8.add_argument("--calibroot", default=None,
                      help="folder of clean faces, or a list (.txt) of .npz, .npy or .bin inputs, for the calibration; "
                           "never the faces of a test; default: none")
    int8.add_argument("--calibration", type=one_of(METHODS), default="mse",
                      help=f"how the ranges of activations are chosen: {', '.join(METHODS)}; default: mse")
    int8.add_argument("--calibration_faces", type=at_least(FEWEST, largest=100_000), default=100,
                      help="number of faces of the calibration, evenly spaced in the folder; default: 100")
    int8.add_argument("--weight_bits", type=at_least(7, largest=8), default=None,
                      help="bits of the weights; 7 cannot saturate on a processor without VNNI; default: 8 where this "
                           "processor has VNNI, else 7")
    int8.add_argument("--sensitivity_faces", type=at_least(0, largest=1000), default=8,
                      help="faces on which each layer is quantised alone; 0: not measured; default: 8")
    int8.add_argument("--sensitive", type=at_least(0.0, float, 100.0), default=SENSITIVE,
                      help="dB; a layer that alone loses more stays in float; default: %(default)g")


def add_evaluation(parser):
    """Adds the options of the table of accuracy, speed and memory."""
    table = parser.add_argument_group("evaluation of the ONNX files (deploy/evaluation.py)")
    table.add_argument("--gtroot", default=None,
                       help="folder of references; without --dataroot the inputs are made from them; default: nothing "
                            "is evaluated")
    table.add_argument("--dataroot", "--data_path", default=None, help="folder of inputs; default: made from --gtroot")
    table.add_argument("--max_images", type=at_least(1), default=200,
                       help="greatest number of faces of the evaluation, evenly spaced; default: 200")
    table.add_argument("--om", type=file_path, nargs="+", default=[],
                       help=".om files of ATC that are evaluated, too, with ais_bench; default: none")
    table.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=ROUNDS,
                       help="alternating rounds of the timing; default: %(default)s")


def soc(value):
    """Returns the name of an Ascend processor, e.g. Ascend310P3 or Ascend910B4-1."""
    if not re.fullmatch(r"Ascend[A-Za-z0-9_-]{1,32}", value):
        raise argparse.ArgumentTypeError(f"'{shown(value)}' is no name of an Ascend processor such as {SOC}")
    return value


soc.__name__ = "text"  # in --help


def parse_export(argv):
    """Returns the options of newexport.py. Raises UserError for unknown, malformed or contradictory options."""
    source = find_source(argv)
    parser, shape = export_parser(source.model)
    options = parse_described(parser, argv, source, shape)
    check_name(options.name)
    try:
        options.name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the files' name {shown(options.name)}, of --name or of the weights' folder, is not UTF-8, as "
                        f"ONNX files need it: give another --name.") from None
    options.output_path = options.output_path or os.path.join("exports", options.name)
    return options
