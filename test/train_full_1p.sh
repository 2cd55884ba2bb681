#!/bin/bash
# Train to the end on one device, then print speed and accuracy.
#
#   bash test/train_full_1p.sh                     on faces that this project draws: nothing to download
#   bash test/train_full_1p.sh --data_path=FACES   on FACES/train, validated on FACES/val (or FACES/test);
#                                                  a flat folder: up to 100 faces, a tenth at most, are held out
#
# Prints the training's log, where its pictures and weights are, and the closing block with images/sec, sec/step,
# seconds and PSNR. Everything goes into test/output/$ASCEND_DEVICE_ID (emptied first); with --output_path=FOLDER
# weights and pictures go into FOLDER/train_full_1p. --precision_mode= is O0, O1 or O2; --preset= a name, or a .yml file
# of newtrain.py's options, one a line: "lambda_id: 0".
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh" || exit 1

parse_arguments "$training_arguments" "$@"
train_and_report acc
