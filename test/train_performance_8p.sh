#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Measures the training speed on the 8 devices of this machine over a limited number of steps.
#
#   bash test/train_performance_8p.sh [--data_path=FACES] [--train_steps=200] [--rank_size=2]
#
# Works like train_performance_1p.sh. images/sec is the total of all devices.
. "$(dirname -- "$0")/common.sh" || exit 1

rank_size=8
parse_arguments "$several_devices ${training_arguments/ device_id/}" "$@"
train_and_report perf
