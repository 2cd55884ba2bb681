#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Arguments of the train_*.sh scripts; common.sh sources this file.

# Read by the scripts.
# shellcheck disable=SC2034
training_arguments="data_path output_path train_epochs train_steps batch_size learning_rate device_id workers \
precision_mode fp32 hf32 profiling world_size preset model"
# shellcheck disable=SC2034
evaluation_arguments="pth_path data_path output_path batch_size device_id workers precision_mode fp32 hf32 world_size \
preset model"
several_devices="rank_size"  # added to these by the _8p scripts, whose devices --device_id= does not choose
several_hosts="nnodes node_rank master_addr master_port"
# Arguments that other ModelZoo scripts know and these do not need: named in one line, then ignored.
unused_arguments="over_dump over_dump_path data_dump_flag data_dump_step data_dump_path profiling_dump_path conda_name \
autotune auto_tune bind_core more_path1 more_path2 more_path3 more_path4"
# Set by a launcher or a platform for processes that it starts itself. The scripts start their own ones.
launcher_variables="RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK MASTER_ADDR MASTER_PORT \
TORCHELASTIC_RUN_ID TORCHELASTIC_RESTART_COUNT RANK_TABLE_FILE"
flags="fp32 hf32 profiling"  # may be given without a value
most_devices=128  # of one machine
longest_message=1000  # characters

rank_size=1  # devices of this machine; the _8p scripts set 8
nnodes=1 node_rank=0 master_addr="" master_port=29500  # of the scripts for several hosts
data_path="" output_path="" train_epochs="" train_steps="" batch_size="" learning_rate="" device_id="" workers=""
pth_path="" precision_mode="" fp32="" hf32="" profiling="" world_size="" preset="" model=""
opt_level="" amp_dtype="" profile_steps=""

# Prints an error in one line, whatever is in the arguments, and exits.
die() {
    local text=$*
    [ ${#text} -le "$longest_message" ] || text="${text::longest_message / 2} ... ${text: -longest_message / 2}"
    printf 'error: %s\n' "${text//[[:cntrl:]]/?}" >&2
    exit 2
}

# parse_arguments "KNOWN NAMES" "$@": sets the variable NAME for each --NAME=VALUE; exits if NAME is not known.
parse_arguments() {
    local known=$1 default_rank_size=$rank_size unused="" para name value
    shift
    rank_size=""
    for para in "$@"; do
        case $para in
            -h | --help) show_usage "$known"; trap - EXIT; exit 0 ;;
            --*=*) name=${para%%=*} value=${para#*=} ;;
            *) name=$para value="" ;;
        esac
        name=${name#--}
        if has "$unused_arguments" "$name"; then
            unused+=" --$name"
            continue
        fi
        has "$known" "$name" || die "unknown argument $para; known: $(list_arguments "$known")"
        if [ "$para" = "--$name" ] && has "$flags" "$name"; then
            value=true
        fi
        [ -n "$value" ] || die "$para has no value: write --$name=VALUE"
        printf -v "$name" '%s' "$value"
        case $name=$value in
            *_path=* | preset=*.yml | preset=*.yaml) make_absolute "$name" ;;
        esac
    done
    [ -z "$unused" ] || say "Not used by this project, ignored:$unused"
    choose_devices "$known" "$default_rank_size"
    forget_launcher
    choose_precision
    is_true profiling && profile_steps=10:12
    return 0
}

# has "NAMES" NAME: succeeds if NAME is one of the NAMES.
has() {
    [[ $2 =~ ^[a-z_0-9]+$ && " $1 " == *" $2 "* ]]
}

show_usage() {
    awk 'NR == 1 || /^# (SPDX-|Copyright)/ { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
    printf '\nArguments: %s\n' "$(list_arguments "$1")"
}

list_arguments() {
    printf '%s -h --help' "--${1// /= --}="
}

# Makes the path in the variable $1 absolute. Relative paths start at the caller's folder. The shell does not expand
# --data_path=~/faces.
make_absolute() {
    # shellcheck disable=SC2088
    case ${!1} in
        /*) ;;
        '~/'*)
            [ -n "${HOME-}" ] || die "--$1=${!1}: HOME is not set: write the path without ~"
            printf -v "$1" '%s' "$HOME/${!1#??}"
            ;;
        *) printf -v "$1" '%s' "$caller_dir/${!1}" ;;
    esac
}

# is_number NAME FROM TO [SHOWN]: exits unless the variable NAME is a whole number in that range; removes leading zeros.
is_number() {
    [[ ${!1} =~ ^0*([0-9]{1,6})$ ]] && printf -v "$1" '%d' "$((10#${BASH_REMATCH[1]}))" &&
        [ "${!1}" -ge "$2" ] && [ "${!1}" -le "$3" ] ||
        die "${4:---$1=} must be a number from $2 to $3, not '${!1}'"
}

# Succeeds if the variable $1 holds a word for yes; exits if it holds neither a word for yes nor one for no.
is_true() {
    case ${!1,,} in
        true | 1 | yes | on | cann | ge) return 0 ;;
        "" | false | 0 | no | off) return 1 ;;
        *) die "--$1=${!1} is neither true nor false" ;;
    esac
}

# choose_devices "KNOWN NAMES" DEFAULT: sets rank_size, and exports RANK_SIZE, the number of all processes, RANK_ID,
# JOB_ID and ASCEND_DEVICE_ID. rank 0 writes the log; torchrun assigns a device to each rank.
choose_devices() {
    local shown=""
    is_number nnodes 1 10000
    [ -z "$node_rank" ] || is_number node_rank 0 $((nnodes - 1))
    is_number master_port 1 65535
    if [ -n "$world_size" ]; then
        is_number world_size 1 999999
        has "$1" rank_size || [ "$world_size" -eq 1 ] ||
            die "--world_size=$world_size: ${0##*/} uses one device; the _8p scripts use several"
        [ $((world_size % nnodes)) -eq 0 ] || die "--world_size=$world_size is not a multiple of --nnodes=$nnodes"
        [ -z "$rank_size" ] || is_number rank_size 1 "$most_devices"
        [ -z "$rank_size" ] || [ "$rank_size" -eq $((world_size / nnodes)) ] ||
            die "--world_size=$world_size and --rank_size=$rank_size contradict each other: give one of them"
        rank_size=$((world_size / nnodes))
    fi
    rank_size=${rank_size:-$2}
    is_number rank_size 1 "$most_devices"
    export RANK_SIZE=$((rank_size * nnodes)) RANK_ID=0 JOB_ID=10087
    [ -n "$device_id" ] || shown="the environment variable ASCEND_DEVICE_ID"
    device_id=${device_id:-${ASCEND_DEVICE_ID:-0}}
    ! has "$1" rank_size || device_id=0
    is_number device_id 0 9999 "$shown"
    export ASCEND_DEVICE_ID=$device_id
}

# Removes another launcher's variables from the environment: the training would wait for that launcher's processes, and
# HCCL would read that launcher's table of ranks.
forget_launcher() {
    local name found=""
    for name in $launcher_variables; do
        [ -z "${!name+set}" ] || found+=" $name"
        unset "$name"
    done
    [ -z "$found" ] || say "Not used, because this script starts all processes by itself:$found"
}

# Exits unless the number of hosts, this one's place and the first one's address are given.
require_hosts() {
    [ "$nnodes" -gt 1 ] && [ -n "$node_rank" ] && [ -n "$master_addr" ] ||
        die "--nnodes= (2 or more), --node_rank= and --master_addr= (the host of node 0) are required"
    [ "$node_rank" -eq 0 ] || output_name=node_$node_rank
}

# Sets opt_level and amp_dtype. The ModelZoo uses the names of TensorFlow and CANN: O0 computes in float32, O1 computes
# the operators that gain most in half precision, O2 everything except normalisation.
choose_precision() {
    local name
    case $precision_mode in
        "") ;;
        O0 | O1 | O2) opt_level=$precision_mode ;;
        must_keep_* | force_fp32 | fp32 | origin) opt_level=O0 ;;
        allow_fp32_to_fp16 | cube_fp16in_fp32out) opt_level=O1 ;;
        allow_fp32_to_bf16) opt_level=O1 amp_dtype=bfloat16 ;;
        allow_mix_precision | allow_mix_precision_fp16 | mixed_float16 | force_fp16 | fp16) opt_level=O2 ;;
        allow_mix_precision_bf16 | mixed_bfloat16) opt_level=O2 amp_dtype=bfloat16 ;;
        *) die "--precision_mode=$precision_mode is not one of O0, O1, O2, must_keep_origin_dtype (O0)," \
               "allow_fp32_to_fp16 (O1), allow_mix_precision (O2), or CANN's other names of these" ;;
    esac
    for name in fp32 hf32; do
        if is_true "$name"; then
            [ "${opt_level:-O0}" = O0 ] || die "--$name and --precision_mode=$precision_mode contradict each other"
            opt_level=O0
        fi
    done
    ! is_true hf32 || say "--hf32: computes in float32 (O0); whether an NPU rounds to HF32 remains torch_npu's default"
}
