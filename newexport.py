# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Writes trained weights as ONNX, TorchScript or torch.export files, each compared with the network it comes from.

    python newexport.py --pretrained sparnet
    python newexport.py --pth_path check_points/NAME/best_net_G.pth --formats onnx,torchscript,pt2 --precision fp32,fp16
"""
import sys

from options.export_options import parse_export
from utils.errors import run_main


def main():
    options = parse_export(sys.argv[1:])
    from deploy.exporter import Exporter  # not at the top: torch takes seconds to import, --help needs none
    return Exporter(options).run()


if __name__ == "__main__":
    run_main(main)
