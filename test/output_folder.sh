#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# The output folder of the train_*.sh scripts: its lock, the checks before it is touched, and moving an earlier one aside.
# common.sh sources this file.

# Sets output_dir, run_dir and log, and locks the output folder and the devices until the script ends.
open_output() {
    local device
    [ -z "$data_path" ] || [ -d "$data_path" ] || die "--data_path: $(name_fault folder "$data_path")"
    [ -z "$pth_path" ] || [ -f "$pth_path" ] || die "--pth_path: $(name_fault file "$pth_path")"
    cd -- "$repo_dir" || exit 1
    source "$test_dir/env_npu.sh"
    trap "$at_exit" EXIT
    [ -e "$test_dir/output" ] || output_root_is_new=1
    mkdir -p -- "$test_dir/output" 2>/dev/null && output_root=$(CDPATH='' cd -P -- "$test_dir/output" && pwd) ||
        die "cannot create the folder $test_dir/output: make $test_dir writable, and remove what has this name"
    output_dir=$output_root/${output_name:-$ASCEND_DEVICE_ID}
    lock_folder "$output_dir"
    # Devices that other scripts use: those with a folder of its own name run beside them.
    for ((device = ASCEND_DEVICE_ID + 1; device < ASCEND_DEVICE_ID + rank_size; device++)); do
        [ -n "$output_name" ] || lock_folder "$output_root/$device"
    done
    run_dir=${output_path:-$output_dir}/$run_name
    # Scripts on other devices may have the same --output_path; other nodes of this run do have it.
    [ -z "$output_path" ] || [ "$node_rank" -ne 0 ] ||
        lock_folder "$output_root/output_path_$(readlink -m -- "$run_dir" | cksum | tr ' ' _)" "$run_dir"
    log=$output_dir/train_$((node_rank * rank_size + ASCEND_DEVICE_ID)).log
}

# name_fault KIND PATH: prints why the path is not of that kind, file or folder.
name_fault() {
    [ -e "$2" ] && printf '%s is not a %s' "$2" "$1" || printf 'the %s %s does not exist' "$1" "$2"
}

# lock_folder FOLDER [SHOWN]: locks FOLDER.lock, or exits with a message on SHOWN (default: FOLDER). The lock is on an
# open file, which the training inherits: the kernel releases it when the last of them has ended.
lock_folder() {
    local file=$1.lock holder reason
    while :; do
        if [ -L "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; then
            die "$file is no lock of this script: remove it"
        fi
        { exec {lock}<>"$file"; } 2>/dev/null || die "cannot write into $output_root: make it writable"
        reason=$(flock -n "$lock" 2>&1)
        case $? in
            0) ;;
            1)
                holder=$(cat -- "$file")
                die "${2:-$1} is in use by ${holder:-another script}: wait for its end, or use another" \
                    "${2:+--output_path=, }device or copy"
                ;;
            *) die "cannot lock $file: ${reason##*flock: }: flock (of util-linux) and a file system with locks are needed" ;;
        esac
        [ ! "$file" -ef "/dev/fd/$lock" ] || break
        exec {lock}<&-  # its last holder has removed this file meanwhile
    done
    lock_files+=("$file")
    echo "$run_name (process $$, since $(date '+%Y-%m-%d %H:%M:%S'))" 2>/dev/null >"$file" ||
        die "cannot write $file: is the disk full?"
}

# At the script's end, however it comes about.
clean_up() {
    trap '' TERM HUP INT
    [ ! -d "$output_dir/ranks" ] || [ -z "$collects_ranks" ] || collect_rank_logs
    rm -f -- "${lock_files[@]}"
    lock_files=()  # from now on they may be another script's
    [ -z "$output_root_is_new" ] || rmdir -- "$test_dir/output" 2>/dev/null  # a refused call leaves nothing behind
    return 0
}

# Sets `replaced` to what this run replaces: all of $output_dir or, where it holds the weights of --pth_path, only what a
# run writes there.
choose_replaced() {
    case $(readlink -f -- "${pth_path:-/}") in
        "$output_dir"/*) replaced=("$output_dir/$run_name" "$output_dir/ranks" "$output_dir"/*.log
                                   "$output_dir"/*_loss.txt) ;;
        *) replaced=("$output_dir") ;;
    esac
}

# check_run PROGRAM OPTIONS...: exits if the program would refuse the options, the data or the device, or if the run
# needs something that move_aside would carry away. Sets device to npu, cuda or cpu.
check_run() {
    local device_id=$ASCEND_DEVICE_ID moved=() path
    [ "$RANK_SIZE" -eq 1 ] || device_id=$((rank_size - 1))
    choose_replaced
    for path in "${replaced[@]}"; do
        ! holds_something "$path" || moved+=("--moved=$path" "--to=$(free_name "$path.previous")")
    done
    ask device python3 -m tools.check_run "--ranks=$RANK_SIZE" "${moved[@]}" "$@" "--device_id=$device_id"
}

holds_something() {
    [ -L "$1" ] || { [ -e "$1" ] && ! { [ -d "$1" ] && [ -z "$(ls -A -- "$1")" ]; }; }
}

# Prints $1, or $1.2, $1.3 ...: the first that does not exist.
free_name() {
    local name=$1 number=1
    while [ -e "$name" ] || [ -L "$name" ]; do
        name=$1.$((++number))
    done
    printf '%s' "$name"
}

# Moves what an earlier run left aside, so that this run overwrites nothing.
move_aside() {
    local path previous
    for path in "${replaced[@]}"; do
        holds_something "$path" || continue
        previous=$(free_name "$path.previous")
        mv -- "$path" "$previous" || die "cannot move $path aside: move it yourself"
        say "What an earlier run left in $path is now in $previous"
    done
    mkdir -p -- "$output_dir" || die "cannot create the folder $output_dir: make $output_root writable"
}
