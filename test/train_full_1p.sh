#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Runs a complete training on one device, then prints speed and accuracy.
#
#   bash test/train_full_1p.sh                     trains on faces that this project draws: nothing to download
#   bash test/train_full_1p.sh --data_path=FACES   trains on FACES/train, validates on FACES/val (or FACES/test);
#                                                  without these subfolders, holds out a tenth of FACES, at most 100
#
# Prints the training log, the paths of images and weights, and the closing block with images/sec, sec/step, seconds and
# PSNR. The output folder is test/output/$ASCEND_DEVICE_ID; what an earlier run left there is moved to
# test/output/$ASCEND_DEVICE_ID.previous (.previous.2, ...) once everything was checked. With --output_path=FOLDER weights
# and images are in FOLDER/train_full_1p. --precision_mode= is O0, O1 or O2. --preset= is a preset's name, or a .yml file with one
# newtrain.py option per line, e.g. "lambda_id: 0".
. "$(dirname -- "$0")/common.sh" || exit 1

parse_arguments "$training_arguments" "$@"
train_and_report acc
