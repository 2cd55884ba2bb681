#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Trains from given weights on one device, with a new optimizer.
#
#   bash test/train_finetune_1p.sh --pth_path=WEIGHTS.pth [--data_path=FACES] [--train_epochs=5]
#
# Data, output and closing block are those of train_full_1p.sh. If the weights are not of newtrain.py's default network,
# give the --preset= that they were trained with.
. "$(dirname -- "$0")/common.sh" || exit 1

parse_arguments "pth_path $training_arguments" "$@"
[ -n "$pth_path" ] || die "--pth_path=WEIGHTS.pth is required: the weights to start from"
train_and_report acc
