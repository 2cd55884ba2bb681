#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Measures the training speed on one device over a limited number of steps.
#
#   bash test/train_performance_1p.sh [--data_path=FACES] [--train_steps=200]
#
# Data, output and closing block are those of train_full_1p.sh. The speed excludes the first 10 steps.
# The default is 100 steps (30 on a CPU); change it with --train_steps= or --train_epochs=.
. "$(dirname -- "$0")/common.sh" || exit 1

parse_arguments "$training_arguments" "$@"
train_and_report perf
