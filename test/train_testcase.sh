#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Trains a small network for a few steps and scores it, within minutes, to see that this project works on this machine.
#
#   bash test/train_testcase.sh
#
# Draws its own faces. Prints "Run testcase success!" and exits with 0, or "Run testcase failed!" and another status.
# The output folder is test/output/testcase: the folders of trainings are not touched.
. "$(dirname -- "$0")/common.sh" || exit 1

say_outcome() {
    local status=$?
    clean_up
    if [ -z "$finished" ]; then
        say "Run testcase failed!"
        exit $((status == 0 ? 1 : status))
    fi
    say "Run testcase success!"
}

finished=""
at_exit=say_outcome
trap "$at_exit" EXIT
parse_arguments "device_id workers precision_mode fp32 hf32" "$@"
output_name=testcase
builtin_dir=$repo_dir/.cache/testcase_faces builtin_quick_faces=16 builtin_val_faces=4
train_steps=6 batch_size=4
train_and_report acc
[ "$accuracy" != NA ] || die "the training printed no accuracy"
finished=1
