#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Loads CANN's environment, if CANN is installed, and exports Ascend's usual settings; variables already set are kept.
# Source this file. Without CANN its variables have no effect.

source_cann() {
    local restore_u=""
    case $- in *u*) restore_u=1 ;; esac
    set +u  # CANN's script may read unset variables
    local script
    for script in "${ASCEND_TOOLKIT_HOME:-/nonexistent}/../set_env.sh" \
                  /usr/local/Ascend/cann/set_env.sh "$HOME/Ascend/cann/set_env.sh" \
                  /usr/local/Ascend/ascend-toolkit/set_env.sh "$HOME/Ascend/ascend-toolkit/set_env.sh"; do
        if [ -f "$script" ]; then
            # shellcheck disable=SC1090
            source "$script" || true
            break
        fi
    done
    [ -z "$restore_u" ] || set -u
    return 0
}
source_cann

export HCCL_WHITELIST_DISABLE="${HCCL_WHITELIST_DISABLE:-1}"
export TASK_QUEUE_ENABLE="${TASK_QUEUE_ENABLE:-2}"  # faster than 1, with a higher peak of device memory
export COMBINED_ENABLE="${COMBINED_ENABLE:-1}"
export ASCEND_GLOBAL_LOG_LEVEL="${ASCEND_GLOBAL_LOG_LEVEL:-3}"
export ASCEND_SLOG_PRINT_TO_STDOUT="${ASCEND_SLOG_PRINT_TO_STDOUT:-0}"
export ASCEND_GLOBAL_EVENT_ENABLE="${ASCEND_GLOBAL_EVENT_ENABLE:-0}"
export CPU_AFFINITY_CONF="${CPU_AFFINITY_CONF:-2}"
