#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Scores trained weights on faces that they were not trained on, restored from inputs 8 times smaller.
#
#   bash test/train_eval_1p.sh --pth_path=test/output/0/train_full_1p/best_net_G.pth [--data_path=FACES]
#
# Faces: FACES/test, else FACES/val, else all of FACES, which must then not contain training faces. Without --data_path:
# built-in faces that no training uses. The options.yml beside the weights describes the network; without it, --preset=
# is required. Prints PSNR and SSIM of the inputs and the restored faces, and the closing block. Writes the restored
# faces and scores.json to test/output/$ASCEND_DEVICE_ID/train_eval_1p, or to FOLDER/train_eval_1p with
# --output_path=FOLDER.
. "$(dirname -- "$0")/common.sh" || exit 1

parse_arguments "$evaluation_arguments" "$@"
[ -n "$pth_path" ] || die "--pth_path=WEIGHTS.pth is required: the weights to score"
evaluate_and_report
