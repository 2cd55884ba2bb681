# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Batches: each image once per epoch for any number of workers, and corrupted images replaced."""
import gc
import itertools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from data import find_dataset
from data.face_folder import Place
from data.loader import BadImages, InOrder, NoBatch, TrainingOrder, collate, hold_out, make_loader
from tests.helpers.faces import celeba_set, write_faces
from tests.helpers.paths import ROOT
from tests.helpers.processes import HUNG
from tests.helpers.warm_python import warm_python
from utils import distributed, signals
from utils.errors import UserError
from utils.images import list_images


def batches(dataset, order, workers=0):
    return list(make_loader(dataset, order, workers))


def test_workers_change_nothing(tmp_path):
    paths = sorted(write_faces(tmp_path, 7).iterdir())
    results = [batches(celeba_set(paths, "fixed", load_size=32), TrainingOrder(7, 3, 5, seed=4), workers)
               for workers in (0, 2)]
    for a, b in zip(*results, strict=True):
        assert a["index"] == b["index"] and torch.equal(a["hr"], b["hr"]) and torch.equal(a["lr"], b["lr"])


def test_loading_leaves_the_random_numbers_of_training_alone(tmp_path):
    paths = sorted(write_faces(tmp_path, 4).iterdir())
    before = torch.get_rng_state()
    batches(celeba_set(paths, "fixed", load_size=32), InOrder(4, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_each_image_once_an_epoch_and_another_order_each_time():
    places = list(itertools.chain.from_iterable(TrainingOrder(10, 4, 10, seed=1)))
    assert len(places) == 40
    epochs = [[p.index for p in places if p.epoch == e] for e in range(4)]
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert len(set(map(tuple, epochs))) == 4
    assert all(len(batch) == 4 for batch in TrainingOrder(10, 4, 10))


@pytest.mark.parametrize("start", [0, 4, 8, 12, 36])
def test_order_goes_on_at_a_sample_position(start):
    whole = list(itertools.chain.from_iterable(TrainingOrder(10, 4, 15, seed=1)))
    assert list(itertools.chain.from_iterable(TrainingOrder(10, 4, 3, seed=1, start=start))) == whole[start:start + 12]


def test_in_order_takes_everything_once():
    assert [[p.index for p in b] for b in InOrder(5, 2)] == [[0, 1], [2, 3], [4]]
    assert len(InOrder(5, 2)) == 3 and len(InOrder(4, 2)) == 2


def test_held_out_faces_are_spread_and_never_trained_on(tmp_path):
    for i in range(100):
        (tmp_path / f"{i:02d}.png").touch()
    files = list_images(str(tmp_path), "--dataroot")
    train, val = hold_out(files, 10)
    assert list(val) == [str(tmp_path / f"{i:02d}.png") for i in range(0, 100, 10)]
    assert sorted([*train, *val]) == list(files)
    assert [list(part) for part in hold_out(files, 0)] == [list(files), []]
    with pytest.raises(UserError, match="--val_count 51"):
        hold_out(files, 51)


def test_a_damaged_image_is_replaced_by_its_neighbour(tmp_path):
    paths = sorted(write_faces(tmp_path, 4).iterdir())
    paths[3].write_bytes(b"broken")
    dataset = celeba_set(paths, load_size=32)
    sample = dataset[Place(0, 3)]
    assert np.array_equal(sample["hr"], dataset[Place(0, 0)]["hr"]) and sample["replaced"]
    assert [(kind, path) for kind, path, _ in sample["notes"]] == [("bad", str(paths[3]))]
    batch = collate([sample, dataset[Place(0, 1)]])
    assert batch["replaced"] == [True, False] and batch["index"] == [3, 1] and batch["complete"]
    stopping = celeba_set(paths, load_size=32, on_bad_image="stop")
    assert not collate([stopping[Place(0, 3)]])["complete"]


def test_a_file_that_was_mended_since_does_not_stop_a_resumed_run():
    bad = BadImages(1000, "stop", print)
    bad.bad["a.png"] = "a.png: torn"  # restored from the checkpoint
    bad.check({"notes": [], "complete": True})
    with pytest.raises(UserError, match="stop.: b.png: torn"):
        bad.check({"notes": [("bad", "b.png", "torn")], "complete": True})


def test_unknown_dataset_and_scale():
    with pytest.raises(UserError, match="--dataset_name celebb.*Did you mean celeba"):
        find_dataset("celebb")
    with pytest.raises(UserError, match="--load_size 100 is not a multiple of --scale_factor 8"):
        celeba_set([], load_size=100)


def test_a_program_that_fails_does_not_wait_for_its_workers(faces):
    program = (f"from data.celeba_dataset import CelebADataset\n"
               f"from data.loader import TrainingOrder, make_loader\n"
               f"from utils.images import list_images\n"
               f"faces = CelebADataset(list_images({str(faces)!r}, 'FACES'), 32, 8)\n"
               f"batches = iter(make_loader(faces, TrainingOrder(len(faces), 2, 50), workers=1))\n"
               f"next(batches)\n"
               f"raise ValueError('something unforeseen')\n")
    done = subprocess.run([warm_python(), "-c", program], capture_output=True, text=True, timeout=HUNG,
                          cwd=ROOT)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ValueError: something unforeseen"


def test_a_training_tolerates_one_percent_of_bad_images_and_always_three():
    for total, tolerated in ((10, 3), (1000, 10)):
        bad = BadImages(total, "replace", lambda line: None)
        bad.check({"notes": [("bad", f"{i}.png", "torn") for i in range(tolerated)], "complete": True})
        with pytest.raises(UserError, match=f"{tolerated + 1} of {total} images are bad"):
            bad.check({"notes": [("bad", "x.png", "torn")], "complete": True})


def test_no_name_of_a_file_forges_a_line_of_the_log():
    lines = []
    BadImages(9, "replace", lines.append).check({"notes": [("bad", "a\nAccuracy: 99 dB\udce9", "torn")],
                                                 "complete": True})
    assert lines == ["warning: bad image 1: a\\nAccuracy: 99 dB\\xe9: torn"]


def test_a_signal_while_the_workers_start_ends_the_run(tmp_path, monkeypatch):
    """Python drops what a signal handler raises in a hook of os.fork: there such a signal was lost."""
    faces = celeba_set(sorted(write_faces(tmp_path, 4).iterdir()), load_size=32)
    monkeypatch.setattr(torch.utils.data._utils.signal_handling, "_SIGCHLD_handler_set", False)
    numbers = [signal.SIGTERM]
    os.register_at_fork(after_in_parent=lambda: numbers and signal.raise_signal(numbers.pop()))
    with signals.handling(signals.raise_stopped), pytest.raises(signals.Stopped):
        batches(faces, InOrder(4, 2), workers=2)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL  # torch's would complain about the killed workers
    for worker in multiprocessing.active_children():
        worker.join(HUNG)
        assert worker.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("spare", [1, 6, 12])  # files: for the first queue, between two workers, for the batches only
def test_too_many_open_files_are_one_line(tmp_path, monkeypatch, spare):
    faces = celeba_set(sorted(write_faces(tmp_path, 12).iterdir()), load_size=32)
    tracebacks, limits = [], resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(sys, "unraisablehook", lambda found: tracebacks.append(found.exc_value))
    used = set(map(int, os.listdir("/proc/self/fd")))
    free = itertools.filterfalse(used.__contains__, itertools.count())
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, spare, None)), limits[1]))
    try:
        with pytest.raises(NoBatch, match="a limit of the system is reached: .*or reduce --workers") as raised:
            batches(faces, InOrder(12, 1), workers=4)
        message = str(raised.value)
        del raised
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "oo many open files" in message and "\n" not in message and tracebacks == []


def test_more_workers_than_cores_are_no_warning_of_torch(tmp_path, recwarn):
    faces = celeba_set(sorted(write_faces(tmp_path, 1).iterdir()), load_size=32)
    make_loader(faces, InOrder(1, 1), workers=900).check_worker_number_rationality()
    assert not recwarn.list


def test_the_end_of_the_log_counts_the_images_of_all_ranks(monkeypatch):
    ranks = []
    for rank in range(2):
        found = BadImages(9, "replace", lambda line: None, restoring=True)
        found.check({"notes": [(kind, f"{kind}{rank}.gif", "text") for kind in ("bad", "small", "frames")]})
        ranks.append(found)
    monkeypatch.setattr(distributed, "gather", lambda mine: [(r.bad, r.small, r.animated) for r in ranks])
    ranks[0].take_in_all_ranks()
    lines = ranks[0].report()
    assert lines[1:3] == ["  bad0.gif: text", "  bad1.gif: text"]
    assert lines[3].endswith("first one used: 2") and lines[4].endswith("enlarged: 2")
