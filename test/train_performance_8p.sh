#!/bin/bash
# Measure the speed of training on the 8 devices of this machine over a limited number of steps.
#
#   bash test/train_performance_8p.sh [--data_path=FACES] [--train_steps=200] [--rank_size=2]
#
# As train_performance_1p.sh; images/sec is that of all devices together.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh" || exit 1

rank_size=8
parse_arguments "rank_size ${training_arguments/ device_id/}" "$@"
limit_steps
# The first log line then holds exactly the steps that are left out.
# shellcheck disable=SC2034
print_freq=$skipped_steps val_max=100
train_and_report perf
