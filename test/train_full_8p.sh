#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Runs a complete training on the 8 devices of this machine, then prints their total speed and the accuracy.
#
#   bash test/train_full_8p.sh --data_path=FACES                   --batch_size= is per device
#   bash test/train_full_8p.sh --data_path=FACES --rank_size=2     uses 2 devices; on a CPU, 2 processes
#
# Data, output and closing block are those of train_full_1p.sh. images/sec is the total of all devices. The log of rank
# 0 is train_$ASCEND_DEVICE_ID.log; the other ranks' logs are train_1.log to train_7.log.
. "$(dirname -- "$0")/common.sh" || exit 1

rank_size=8
parse_arguments "$several_devices ${training_arguments/ device_id/}" "$@"
train_and_report acc
