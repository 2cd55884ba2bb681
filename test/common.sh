#!/bin/bash
# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
# Functions of the train_*.sh scripts, which source this file and call parse_arguments first.
[ -n "${BASH_VERSION-}" ] || exec bash "$0" "$@"  # started with another shell: `sh test/train_full_1p.sh`
set +o posix +o errexit +o noclobber +o noglob -u -o pipefail  # the caller may have exported other settings
shopt -u nocasematch nullglob failglob
# Of a closed console: otherwise the next file that a program opens would receive its messages.
[ -e /dev/fd/0 ] || exec </dev/null
[ -e /dev/fd/1 ] || exec >/dev/null
[ -e /dev/fd/2 ] || exec 2>/dev/null

caller_dir=$PWD
test_dir=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd) || exit 1
repo_dir=$(dirname -- "$test_dir")
Network=$(basename -- "$repo_dir")

# Built-in faces, drawn if no --data_path is given. Different seeds draw different people.
builtin_dir=$repo_dir/.cache/builtin_faces
builtin_train_faces=2000
builtin_quick_faces=800  # for sparnet_builtin, which `make train` runs within minutes
builtin_val_faces=100
builtin_val_seed=1000000

held_out_at_most=100  # validation faces held out from a flat --data_path; at most a tenth of it
val_max=1000          # faces to validate on after each epoch, evenly spread over the folder
skipped_steps=10      # first steps of a training, excluded from the speed
lines_of_failure=30   # log lines shown when a program fails

packages="torch numpy PIL cv2 yaml safetensors filelock"  # by the names that Python imports

print_freq=""
run_name=$(basename -- "$0" .sh) run_dir="" output_dir="" log="" lock="" lock_files=() output_root=""
output_root_is_new="" collects_ranks="" child="" signalled=""
output_name=""    # of the folder in test/output; default: $ASCEND_DEVICE_ID
at_exit=clean_up  # run at the script's end

source "$test_dir/arguments.sh" || exit 1
source "$test_dir/output_folder.sh" || exit 1

export STARTED_BY_PROCESSES="${STARTED_BY_PROCESSES-} $$"  # the programs end if this script is killed
trap '' PIPE  # a console that closes early (| head) ends neither the training nor the files of this script
trap 'receive TERM 143' TERM HUP
trap 'receive INT 130' INT
awk() { LC_ALL=C command awk "$@"; }  # prints decimal points in every locale

# Prints the arguments as a line on the console. A console that is closed is no error.
say() {
    printf '%s\n' "$*" 2>/dev/null || return 0
}

# add_option NAME VALUE: appends --NAME=VALUE to `options`; an empty VALUE keeps the program's default.
add_option() {
    [ -z "$2" ] || options+=("--$1=$2")
}

# Exits unless python3 and the packages that this project needs are there.
require_python() {
    command -v python3 >/dev/null || die "there is no python3 in PATH: install it, or activate its environment"
    # shellcheck disable=SC2086
    supervise python3 -c 'import sys; from importlib.util import find_spec
absent = [name for name in sys.argv[2:] if not find_spec(name)]
if absent:
    print(f"error: {sys.executable} lacks the packages {chr(44).join(absent)}: activate the environment that has them, "
          f"or install {sys.argv[1]}", file=sys.stderr)
    sys.exit(2)' "$repo_dir/requirements.txt" $packages >/dev/null
    exit_if_failed $?
}

# -- data -----------------------------------------------------------------------------------------------------------

# Adds --dataroot, and --valroot or --val_count, to `options`: no face is used for both training and validation.
choose_training_data() {
    local val train_faces train_folder held_out
    if [ -z "$data_path" ]; then
        preset=${preset:-${model:-sparnet}_builtin}
        train_faces=$builtin_train_faces train_folder=train
        [ "$preset" != sparnet_builtin ] || train_faces=$builtin_quick_faces train_folder=quick
        draw_builtin_faces "$train_faces" 0 "$train_folder"
        draw_builtin_faces "$builtin_val_faces" "$builtin_val_seed" val
        options+=("--dataroot=$builtin_dir/$train_folder/images" "--valroot=$builtin_dir/val/images")
    elif [ -d "$data_path/train" ]; then
        options+=("--dataroot=$data_path/train")
        val=$(first_folder "$data_path/val" "$data_path/test")
        if [ -n "$val" ]; then
            options+=("--valroot=$val")
        else
            count_held_out "$data_path/train"
            options+=("--val_count=$held_out")
        fi
    else
        count_held_out "$data_path"
        options+=("--dataroot=$data_path" "--val_count=$held_out")
    fi
}

# Adds --gtroot to `options`.
choose_reference_faces() {
    local faces
    if [ -z "$data_path" ]; then
        draw_builtin_faces "$builtin_val_faces" "$builtin_val_seed" val
        faces=$builtin_dir/val/images
    else
        faces=$(first_folder "$data_path/test" "$data_path/val" "$data_path")
    fi
    options+=("--gtroot=${faces:-$data_path}")
}

draw_builtin_faces() {
    say "No --data_path: using the built-in faces drawn by this project ($1 in $builtin_dir/$3)"
    supervise python3 -m data.drawn.builtin_faces "$builtin_dir/$3" --count "$1" --first_seed "$2"
    exit_if_failed $?
}

first_folder() {
    local folder
    for folder in "$@"; do
        if [ -d "$folder" ]; then
            printf '%s' "$folder"
            return
        fi
    done
}

# Sets `held_out` to the number of faces to hold out; 0 for an unreadable folder: newtrain.py then reports the error.
count_held_out() {
    local count
    ask count python3 -c 'import sys; from data.face_folder import FaceFolder; from utils.errors import UserError
try: print(len(FaceFolder.list_faces(*sys.argv[1:])))
except UserError: print(0)' "$1" --data_path
    held_out=$((count / 10 < held_out_at_most ? count / 10 : held_out_at_most))
}

# -- running --------------------------------------------------------------------------------------------------------

# supervise COMMAND...: runs the command and returns its status. Signals to this script are passed on to the command.
supervise() {
    local status received
    child=starting
    set -m  # separate process group: otherwise Ctrl-C reaches the command twice or, in the background, never
    "$@" </dev/null &
    child=$!
    set +m
    # shellcheck disable=SC2086
    [ -z "$signalled" ] || receive $signalled  # the signal came before the command started
    received=$signalled
    while signalled="" && { wait "$child" 2>/dev/null; status=$?; } && [ -n "$signalled" ]; do received=$signalled; done
    child=ended signalled=$received
    return "$status"
}

# receive SIGNAL STATUS: passes the signal on to the command that runs; between two commands, ends this script with the
# status. A further signal would end the EXIT trap before it has cleaned up, so signals are ignored first, and what the
# trap runs is run here: the signal may have come when the trap was about to run it.
receive() {
    signalled="$1 $2"
    case $child in
        "")
            trap '' TERM HUP INT
            trap - EXIT
            echo "error: $run_name was stopped by a signal before it had results: start it again" >&2
            finished=""  # train_testcase.sh: a stopped run is no success
            has_status "$2"
            "$at_exit"
            exit "$2"
            ;;
        [1-9]*) kill "-$1" "$child" 2>/dev/null ;;
    esac
}

# has_status STATUS: returns it, so that $? is this status.
has_status() {
    return "$1"
}

# exit_if_failed STATUS: exits if the command that `supervise` ran failed, or if a signal came meanwhile.
exit_if_failed() {
    child=""
    # shellcheck disable=SC2086
    [ -z "$signalled" ] || receive $signalled
    [ "$1" -eq 0 ] || exit "$1"
}

# ask VARIABLE COMMAND...: sets the variable to the line that the command prints; exits if the command fails. During a
# command substitution this script would not react to a signal.
ask() {
    local answer
    exec {answer}<> <(:)  # a pipe
    supervise "${@:2}" >&"$answer"
    exit_if_failed $?
    echo >&"$answer"  # also without an answer there is a line to read
    IFS= read -r "$1" <&"$answer"
    exec {answer}>&-
}

# run_ranks PROGRAM OPTIONS...: runs the program in one process or, with torchrun, in one process per device. The first
# rank writes to the console and to $log. The other ranks' output is in train_<rank>.log afterwards, also after a failure.
run_ranks() {
    local rank redirects="" meeting=(--standalone)
    if [ "$RANK_SIZE" -eq 1 ]; then
        run_logged python3 "$@" "--device_id=$ASCEND_DEVICE_ID"
        return
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) > rank_size ? $(nproc) / rank_size : 1))}
    for ((rank = 1; rank < rank_size; rank++)); do
        redirects+=${redirects:+,}$rank:3
    done
    [ "$nnodes" -eq 1 ] || meeting=("--nnodes=$nnodes" "--node_rank=$node_rank" "--master_addr=$master_addr"
                                    "--master_port=$master_port")
    collects_ranks=1
    run_logged python3 -m utils.launch "${meeting[@]}" "--nproc_per_node=$rank_size" \
        "--log-dir=$output_dir/ranks" "--redirects=${redirects:-0}" "$@"
    collect_rank_logs
}

# Moves the ranks' output from the folders that torchrun named to train_<rank>.log.
collect_rank_logs() {
    local rank
    for ((rank = 1; rank < rank_size; rank++)); do
        cat "$output_dir"/ranks/*/attempt_*/"$rank"/std{out,err}.log \
            >"$output_dir/train_$((node_rank * rank_size + rank)).log" 2>/dev/null
    done
    rm -rf -- "$output_dir/ranks"
}

# run_logged COMMAND...: copies the output to the console and to $log, exits if the command fails.
run_logged() {
    local output status tee_pid start
    # tee must survive a signal to the whole process group: the training still saves a checkpoint and logs it.
    exec {output}> >(trap '' INT TERM HUP; exec tee -p -- "$log")
    tee_pid=$!
    start=$(date +%s)
    PYTHONUNBUFFERED=1 supervise "$@" >&"$output" 2>&1
    status=$?
    exec {output}>&-
    # tee ends with the last process that writes: ranks whose launcher was killed stop by themselves.
    while kill -0 "$tee_pid" 2>/dev/null; do wait "$tee_pid" 2>/dev/null || sleep 0.1; done
    e2e_seconds=$(($(date +%s) - start))
    case $status in  # a signal that came while tee was awaited changes nothing: the training has its results
        0) child=""; return ;;
        130 | 143)
            echo "$run_name was stopped (exit status $status); to continue, add --continue_train to"
            echo "cd $(printf '%q && ' "$repo_dir")$(printf '%q ' "$@")"
            ;;
        *)
            echo "---- last $lines_of_failure lines of $log ----"
            tail -n "$lines_of_failure" -- "$log"
            echo "error: $run_name failed with exit status $status$(name_signal "$status")"
            ;;
    esac >&2
    exit "$status"
}

# Prints which signal ended a process, if one did.
name_signal() {
    [ "$1" -le 128 ] || printf ' (ended by SIG%s)' "$(kill -l "$1")"
}

# train_and_report acc|perf: runs newtrain.py with the parsed arguments, then prints the closing block. perf measures the
# speed over 100 steps (30 on a CPU), unless --train_steps= or --train_epochs= is given.
train_and_report() {
    local options=() weights
    require_python
    open_output
    if [ "$1" = perf ]; then
        # With this print_freq the first log line covers exactly the steps that the speed excludes.
        print_freq=$skipped_steps val_max=100
    fi
    choose_training_data
    options+=("--checkpoints_dir=${run_dir%/*}" "--name=$run_name")
    add_option preset "$preset"
    add_option model "$model"
    add_option pth_path "$pth_path"
    add_option total_epochs "$train_epochs"
    add_option train_steps "$train_steps"
    add_option batch_size "$batch_size"
    add_option lr "$learning_rate"
    add_option workers "$workers"
    add_option opt_level "$opt_level"
    add_option amp_dtype "$amp_dtype"
    add_option profile_steps "$profile_steps"
    add_option print_freq "$print_freq"
    [[ " ${options[*]} " == *" --val_count=0 "* ]] || add_option val_max "$val_max"
    check_run newtrain.py "${options[@]}"
    move_aside
    if [ "$1$train_steps$train_epochs" = perf ]; then
        [ "$device" = cpu ] && options+=(--train_steps=30) || options+=(--train_steps=100)
    fi
    [ "$RANK_SIZE" -eq 1 ] || options+=(--rank_logs)
    run_ranks newtrain.py "${options[@]}"
    end_other_node

    batch_size=$(read_option batch_size)
    step_seconds=$(measure_step)
    FPS=$(awk -v n="$((RANK_SIZE * batch_size * $(read_option accumulate)))" -v s="$step_seconds" \
        'BEGIN { printf "%.2f", n / s }')
    CaseName=${Network}_bs${batch_size}_${RANK_SIZE}p_$1
    awk '/Loss_Pix:/ { print $4 }' "$log" >"$output_dir/${CaseName}_loss.txt"
    ActualLoss=$(tail -n 1 -- "$output_dir/${CaseName}_loss.txt")
    say "Look at: $run_dir/samples.png, $run_dir/curves.png"
    weights=("$run_dir"/best_net_*.pth)
    [ -e "${weights[0]}" ] || weights=("$run_dir"/latest_net_*.pth)  # no validation: no best weights
    say "Weights: ${weights[*]}"
    report
}

# Ends the script here on all nodes but the first, which has the results.
end_other_node() {
    [ "$node_rank" -ne 0 ] || return 0
    say "Node $node_rank of $nnodes has finished; the results are on node 0. Logs: $output_dir"
    exit 0
}

# evaluate_and_report: runs newtest.py with the parsed arguments, then prints the closing block.
evaluate_and_report() {
    local options=()
    require_python
    open_output
    choose_reference_faces
    batch_size=${batch_size:-16}
    options+=("--pth_path=$pth_path" "--results_dir=${run_dir%/*}" "--name=$run_name" "--batch_size=$batch_size")
    add_option preset "$preset"
    add_option model "$model"
    add_option workers "$workers"
    add_option opt_level "$opt_level"
    add_option amp_dtype "$amp_dtype"
    check_run newtest.py "${options[@]}"
    move_aside
    run_ranks newtest.py "${options[@]}"

    FPS=$(awk '/^Restoring took/ { print $3 }' "$log")
    step_seconds=$(awk -v n="$batch_size" -v fps="$FPS" 'BEGIN { printf "%.6f", n / fps }')
    CaseName=${Network}_bs${batch_size}_${RANK_SIZE}p_acc
    ActualLoss=NA
    say "Look at: $run_dir/samples.png, $run_dir/restored; scores: $run_dir/scores.json"
    report
}

# -- figures --------------------------------------------------------------------------------------------------------

# read_option NAME: prints the value that the program used, whether from an argument, a preset or a default.
read_option() {
    awk -F ': *' -v name="$1" '$1 == name { print $2 }' "$run_dir/options.yml"
}

# Prints the mean seconds per step, from the log's IterTotal lines, so that the value can be checked against the log.
# Each line is the mean of the steps since the previous line. Lines that include any of the first $skipped_steps steps
# are excluded. If a run is too short for such lines, prints newtrain.py's own mean, the Performance line.
measure_step() {
    awk -v skipped="$skipped_steps" '
        /IterTotal:/ { seconds = $8 + 0 }
        $1 == "Iter:" {
            step = $2; sub(/.*\]/, "", step); step += 0  # "[epoch|i/n]step/total"
            if (last >= skipped) { sum += seconds * (step - last); steps += step - last }
            last = step
        }
        /^Performance:/ { own = $4 + 0 }
        END { printf "%.6f", (sum > 0) ? sum / steps : own }' "$log"
}

# Writes $CaseName.log and prints the closing block, whose lines the ModelZoo reads.
report() {
    [[ $FPS =~ ^[0-9.]*[1-9] ]] || die "$log does not contain the run's speed: is the disk full, or was the file changed?"
    accuracy=$(awk '/^Accuracy:/ { value = $2 } END { print value == "" ? "NA" : value }' "$log")
    [ "$accuracy" != NA ] || say "No accuracy: there were no validation faces (fewer than 10 faces: none held out)."
    {
        echo "Network = $Network"
        echo "RankSize = $RANK_SIZE"
        echo "BatchSize = $batch_size"
        echo "DeviceType = $(uname -m)"
        echo "CaseName = $CaseName"
        echo "ActualFPS = $FPS"
        echo "TrainingTime = $(awk -v s="$step_seconds" 'BEGIN { printf "%.2f", s * 1000 }')"
        echo "TrainAccuracy = $accuracy"
        echo "ActualLoss = $ActualLoss"
        echo "E2ETrainingTime = $e2e_seconds"
    } >"$output_dir/$CaseName.log" || exit 1
    say "------------------ Final result ------------------"
    say "Final Performance images/sec : $FPS"
    say "Final Performance sec/step : $step_seconds"
    say "E2E Training Duration sec : $e2e_seconds"
    say "Final Train Accuracy : $accuracy"
}
