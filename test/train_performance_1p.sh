#!/bin/bash
# Measure the speed of training on one device over a limited number of steps.
#
#   bash test/train_performance_1p.sh [--data_path=FACES] [--train_steps=200]
#
# Data, output and closing block are those of train_full_1p.sh; the first 10 steps are left out of the speed.
# Without --train_steps= and --train_epochs= it is 100 steps, 30 on a CPU.
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh" || exit 1

parse_arguments "$training_arguments" "$@"
limit_steps
# The first log line then holds exactly the steps that are left out.
# shellcheck disable=SC2034
print_freq=$skipped_steps val_max=100
train_and_report perf
