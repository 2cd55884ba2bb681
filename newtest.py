# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Restores a folder of faces; with references, scores the inputs and the restored faces under every protocol.

    python newtest.py --pth_path check_points/NAME/best_net_G.pth --gtroot FACES
    python newtest.py --pth_path WEIGHTS.pth --preset sparnet_light_attn3d --dataroot SMALL_FACES
"""
import sys

from options.test_options import parse_test
from utils.errors import run_main
from utils.started_by import end_with_starters


def main():
    end_with_starters()
    options = parse_test(sys.argv[1:])
    from engine.tester import Tester  # not at the top: torch takes seconds to import, --help needs none
    from utils import distributed
    with distributed.session():
        return Tester(options).run()


if __name__ == "__main__":
    run_main(main)
