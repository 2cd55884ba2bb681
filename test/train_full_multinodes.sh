#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Runs a complete training on the devices of several machines; start it once on each of them.
#
#   bash test/train_full_multinodes.sh --nnodes=2 --node_rank=0 --master_addr=HOST --data_path=FACES     on HOST
#   bash test/train_full_multinodes.sh --nnodes=2 --node_rank=1 --master_addr=HOST --data_path=FACES     on the other
#
# HOST is the machine of node 0; --master_port= (default 29500) must be free there. --rank_size= is the number of devices
# per machine (default 8), --batch_size= is per device. Data, output and closing block are those of train_full_8p.sh, on
# node 0; the logs of node 1 are in its test/output/node_1. --output_path= must be a folder that all machines share.
. "$(dirname -- "$0")/common.sh" || exit 1

rank_size=8 node_rank=""
parse_arguments "$several_hosts $several_devices ${training_arguments/ device_id/}" "$@"
require_hosts
train_and_report acc
