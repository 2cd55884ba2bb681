# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Options of newexport.py."""
import os

from deploy.exporter import PRECISIONS
from deploy.formats import FORMATS, OPSET, OPSETS
from engine.run_folder import check_name
from options.base_options import add_inputs, add_model, new_parser
from options.weights_options import add_network, add_weights, find_source, parse_described
from utils.option_types import BATCH, at_least, list_of, one_of

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
                          "output); default: fp32")
    run.add_argument("--opset", type=at_least(OPSETS[0], largest=OPSETS[1]), default=OPSET,
                     help="version of ONNX's operators")
    run.add_argument("--batch", type=list_of(at_least(1, largest=LARGEST_BATCH)), default=[],
                     help="batch sizes, separated by commas, at which each file is compared with the network beside 1 "
                          "and 3; default: no others. The files take any batch")
    run.add_argument("--output_path", default=None, help="output folder; default: exports/NAME")
    add_weights(add_inputs(parser))
    return parser, add_network(parser, model)


def parse_export(argv):
    """Returns the options of newexport.py. Raises UserError for unknown, malformed or contradictory options."""
    source = find_source(argv)
    parser, shape = export_parser(source.model)
    options = parse_described(parser, argv, source, shape)
    check_name(options.name)
    options.output_path = options.output_path or os.path.join("exports", options.name)
    return options
