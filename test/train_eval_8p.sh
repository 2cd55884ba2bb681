#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Scores trained weights like train_eval_1p.sh, with the faces distributed over the 8 devices of this machine.
#
#   bash test/train_eval_8p.sh --pth_path=test/output/0/train_full_8p/best_net_G.pth [--data_path=FACES] [--rank_size=2]
. "$(dirname -- "$0")/common.sh" || exit 1

rank_size=8
parse_arguments "$several_devices ${evaluation_arguments/ device_id/}" "$@"
[ -n "$pth_path" ] || die "--pth_path=WEIGHTS.pth is required: the weights to score"
evaluate_and_report
