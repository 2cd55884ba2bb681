# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""ModelArts entry: runs test/train_full_*.sh on the faces of --data_url and writes the results to --train_url.

    python modelarts_entry_acc.py --data_url=FACES --train_url=RESULTS [arguments of the script]
"""
import sys

from utils.errors import run_main
from utils.modelarts import run_job

if __name__ == "__main__":
    run_main(lambda: run_job("full", sys.argv[1:]))
