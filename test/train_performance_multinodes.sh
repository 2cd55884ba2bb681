#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Measures the training speed on the devices of several machines; start it once on each of them.
#
#   bash test/train_performance_multinodes.sh --nnodes=2 --node_rank=0 --master_addr=HOST [--train_steps=200]
#
# Works like train_performance_8p.sh; the arguments for several machines are those of train_full_multinodes.sh.
. "$(dirname -- "$0")/common.sh" || exit 1

rank_size=8 node_rank=""
parse_arguments "$several_hosts $several_devices ${training_arguments/ device_id/}" "$@"
require_hosts
train_and_report perf
