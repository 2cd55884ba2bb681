# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Data loading: sample order, worker processes, batches, and the report on corrupted files."""
import atexit
import errno
import multiprocessing
import os
import shutil
import signal
import sys
import traceback

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter

from data import DATA_TIMEOUT
from data.face_folder import Place
from utils import distributed
from utils.errors import UserError, limit_reached
from utils.names import printable
from utils.signals import ENDING, Stopped, WaitTimedOut, bounded_wait, deferred

MAX_BAD_SHARE, MAX_BAD = 0.01, 3  # bad images that a training tolerates: the larger of this share and this number
SHARED_MEMORY = "/dev/shm"


class TrainingOrder(Sampler):
    """Yields `batches` batches of Places; each epoch is a permutation of all images, seeded by (seed, epoch).

    start: number of images that the training has already used, so that a resumed run continues exactly where it
    stopped. All batches have batch_size images per rank: a batch may cross into the next epoch. The ranks' batches
    concatenated equal the batch of a single rank with batch_size * ranks, so no image is used twice per epoch.
    """

    def __init__(self, length, batch_size, batches, seed=0, start=0, rank=0, ranks=1):
        self.length, self.batch_size, self.batches = length, batch_size, batches
        self.seed, self.start = seed, start
        self.rank, self.ranks = rank, ranks

    def __len__(self):
        return self.batches

    def permutation(self, epoch):
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        return torch.randperm(self.length, generator=generator)

    def __iter__(self):
        epoch, order = None, None
        position = self.start + self.rank * self.batch_size
        for _ in range(self.batches):
            batch = []
            for place in range(position, position + self.batch_size):
                if place // self.length != epoch:
                    epoch = place // self.length
                    order = self.permutation(epoch)
                batch.append(Place(epoch, int(order[place % self.length])))
            position += self.batch_size * self.ranks
            yield batch


class InOrder(Sampler):
    """Yields batches of Places, one pass through a dataset in order; the last batch may be smaller.

    With several ranks, each rank reads every `ranks`-th image; together they read each image once.
    """

    def __init__(self, length, batch_size, rank=0, ranks=1):
        self.indices, self.batch_size = range(rank, length, ranks), batch_size

    def __len__(self):
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.indices), self.batch_size):
            yield [Place(0, i) for i in self.indices[start:start + self.batch_size]]


def collate(samples):
    """Returns {name: uint8 tensor [N, H, W, C]; 'index', 'replaced', 'notes': lists; 'complete': bool}.

    complete: False if a sample could not be read or replaced; such samples are dropped and only their notes are kept.
    """
    usable = [s for s in samples if "index" in s]
    batch = {"notes": [note for sample in samples for note in sample["notes"]],
             "complete": len(usable) == len(samples), "index": [], "replaced": []}
    for name, first in (usable[0] if usable else {}).items():
        if isinstance(first, np.ndarray):
            batch[name] = torch.from_numpy(np.stack([s[name] for s in usable]))
            if get_worker_info():
                # Here an error reaches the trainer. Where torch does this itself, in a thread of the worker, the
                # batch would be lost with a traceback, and the trainer would wait for ever.
                batch[name].share_memory_()
        elif name != "notes":
            batch[name] = [s[name] for s in usable]
    return batch


class NoBatch(UserError):
    """No batch came: the workers ended, ran out of shared memory, or did not answer in time."""


class Loader(DataLoader):
    """A DataLoader whose wait for a batch ends: by data_timeout seconds, a worker's death or a signal.

    Iterating raises NoBatch, and Stopped if a signal came (utils/signals.py). The iterator cannot be used afterwards.
    """

    def __init__(self, *arguments, data_timeout=DATA_TIMEOUT, **options):
        super().__init__(*arguments, **options)
        self.data_timeout = data_timeout

    def __iter__(self):
        workers = []
        try:
            with bounded_wait(self.data_timeout), deferred():
                batches = super().__iter__()
                workers = getattr(batches, "_workers", [])
                # torch's handler would raise an error wherever the trainer is when a worker dies, in the middle of a
                # step, too. Without it, the wait for the next batch finds the dead worker.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            while True:
                with bounded_wait(self.data_timeout):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
        except WaitTimedOut:
            raise self._failed(workers, self._too_slow()) from None
        except Stopped:
            self._kill(workers)
            raise
        except (RuntimeError, OSError, EOFError) as error:
            self._end_unfinished_start(error)
            message = self._explain(error, workers)
            if not message:
                raise
            raise self._failed(workers, message) from None

    def check_worker_number_rationality(self):
        """Silences torch's two warnings about more workers than cores: their number is the user's choice."""

    def _end_unfinished_start(self, error):
        """Kills the workers of an iterator whose construction failed; its clean-up would fail with a traceback."""
        for frame, _ in traceback.walk_tb(error.__traceback__):
            batches = frame.f_locals.get("self")
            if frame.f_code.co_name == "__init__" and isinstance(batches, _BaseDataLoaderIter):
                self._kill(getattr(batches, "_workers", []))
                batches._shutdown = True

    @staticmethod
    def _kill(workers):
        """Kills the workers, which may hang, so that closing the iterator does not wait for them."""
        for worker in workers:
            worker.kill()

    def _failed(self, workers, message):
        self._kill(workers)
        return NoBatch(message, status=1)

    def _too_slow(self):
        where = f"the {self.num_workers} worker processes (stopped, or waiting for a disk?)" if self.num_workers else \
            "reading the images (is the disk stuck?)"
        return (f"no batch came within {self.data_timeout:g} s (--data_timeout) from {where}. Check the disk of the "
                f"images, and raise --data_timeout if it is only slow.")

    def _explain(self, error, workers):
        """Returns what to do about an error of the workers, or None for any other error."""
        if not self.num_workers:
            return None
        if "/torch_" in str(error) or "shared memory" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
            total, _, free = shutil.disk_usage(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else (0, 0, 0)
            return (f"{SHARED_MEMORY} ({total / 1e6:.0f} MB, {free / 1e6:.0f} MB of it free) is too small for the "
                    f"batches of {self.num_workers} workers: enlarge it (docker run --shm-size=8g, or mount -o "
                    f"remount,size=8g {SHARED_MEMORY}), or use --workers 0.")
        message = limit_reached(error)
        if message:
            return message
        for worker in workers:
            worker.join(1.0 / len(workers))  # a broken connection is noticed earlier than the end of its process
        ended = [worker.exitcode for worker in workers if worker.exitcode is not None]
        if not ended:
            return None
        how = f"by {signal.Signals(-ended[0]).name}" if ended[0] < 0 else f"with exit status {ended[0]}"
        return (f"a process that prepares batches ended: {how}. Is there enough memory (free, {SHARED_MEMORY})? Fewer "
                f"--workers need less; with --workers 0 there are no such processes.")


def make_loader(dataset, order, workers, pin_memory=False, data_timeout=DATA_TIMEOUT):
    """Returns a Loader of the batches of `order`; `workers` processes prefetch them (0: loads in this process)."""
    return Loader(
        dataset, batch_sampler=order, num_workers=workers, collate_fn=collate, pin_memory=pin_memory,
        persistent_workers=workers > 0, prefetch_factor=4 if workers else None,
        worker_init_fn=set_up_worker if workers else None, data_timeout=data_timeout,
        generator=torch.Generator())  # starting a loader must not advance the global random generator


def set_up_worker(worker):
    torch.set_num_threads(1)  # parallelism comes from the number of workers
    # Ctrl-C, a scheduler or pkill may signal the workers together with the trainer. Only the trainer must react: it
    # still needs the workers to finish its step. It stops them itself, and they exit when it is gone.
    os.setpgrp()
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    # Errors of a sample travel to the trainer. What remains comes from connections that the trainer closed.
    sys.excepthook = lambda *_: None


@atexit.register
def end_workers():
    """Kills the workers at exit: they ignore SIGTERM, so multiprocessing's clean-up would wait forever."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report each killed worker as a failure
    for worker in multiprocessing.active_children():
        worker.kill()


class BadImages:
    """Counts and logs what the datasets' notes say of images; stops the run at too many bad ones.

    total: number of images in the dataset. on_bad_image: 'stop' or 'replace'. log: function of a line of text.
    bad: {path: message}, updated in place. restoring: bad images are left out, however many they are.
    """

    def __init__(self, total, on_bad_image, log, bad=None, restoring=False):
        self.total, self.stop_at_first, self.log = total, on_bad_image == "stop", log
        self.bad = {} if bad is None else bad
        self.restoring = restoring
        self.small, self.animated, self.cache_failed = set(), set(), False

    def check(self, batch):
        """Records the notes of one batch.

        Raises UserError at the first bad image with --on_bad_image stop; unless restoring also if more than 1 % of all
        images, and more than MAX_BAD, are bad, or if the batch is incomplete.
        """
        now_bad = [f"{printable(path)}: {what}" for kind, path, what in batch["notes"] if kind == "bad"]
        for kind, path, what in batch["notes"]:
            if kind == "small":
                if not self.small:
                    self.log(f"warning: {printable(path)} ({what}) is smaller than --load_size and is enlarged; the "
                             f"end of the log counts such images (--min_size refuses them).")
                self.small.add(path)
            elif kind == "frames":
                if not self.animated:
                    self.log(f"warning: {printable(path)} has several frames: {what}; the end of the log counts such "
                             f"images.")
                self.animated.add(path)
            elif kind == "cache":
                if not self.cache_failed:
                    self.log(f"warning: --cache_folder: cannot write into {what}; such "
                             f"faces are resized in each epoch.")
                self.cache_failed = True
            else:
                self.add(path, what)
        if now_bad and self.stop_at_first:  # not self.bad: a resumed run may list files that have been fixed since
            raise UserError(f"bad image (and --on_bad_image stop): {now_bad[0]}", status=1)
        if self.restoring:
            return
        if len(self.bad) > max(MAX_BAD, MAX_BAD_SHARE * self.total):
            raise UserError(f"{len(self.bad)} of {self.total} images are bad, more than 1 %. The last: "
                            f"{list(self.bad.values())[-1]}. Fix or remove them.", status=1)
        if not batch["complete"]:
            _, path, what = batch["notes"][-1]
            raise UserError(f"too many bad images in a row. The last: {printable(path)}: {what}.", status=1)

    def add(self, path, what):
        """Records a bad image and logs it once; what: the reason."""
        if path not in self.bad:
            self.bad[path] = f"{printable(path)}: {printable(what)}"
            self.log(f"warning: bad image {len(self.bad)}: {self.bad[path]}")

    def take_in_all_ranks(self):
        """Adds what the other ranks have recorded; called by all ranks together, before `report`."""
        for bad, small, animated in distributed.gather((self.bad, self.small, self.animated)):
            self.bad.update(bad)
            self.small |= small
            self.animated |= animated

    def report(self):
        """Returns the lines for the end of the log: bad, animated and small images; empty if there are none."""
        done = "not restored or not scored" if self.restoring else "each replaced by the next one in the folder"
        lines = [f"Bad images: {len(self.bad)}, {done}:"] if self.bad else []
        lines += [f"  {text}" for text in self.bad.values()]
        if self.animated:
            lines.append(f"Images with several frames, the first one used: {len(self.animated)}")
        if self.small:
            lines.append(f"Images smaller than --load_size, enlarged: {len(self.small)}")
        return lines


def require_images(faces, options, ranks):
    """Raises UserError if one step on `ranks` devices takes more images than `faces` has.

    options: batch_size, accumulate, dataroot.
    """
    o = options
    if o.batch_size * o.accumulate * ranks > len(faces):
        several = f" on {ranks} devices" if ranks > 1 else ""
        raise UserError(f"--batch_size {o.batch_size} times --accumulate {o.accumulate}{several} is more than the "
                        f"{len(faces)} images to train on in {o.dataroot}: choose a smaller --batch_size.")


def spread(count, total):
    """Returns `count` evenly spaced indices of 0..total-1."""
    return [i * total // count for i in range(count)]


def hold_out(files, count):
    """Returns (training FileList, validation FileList); validation gets `count` evenly spaced files.

    Raises UserError if fewer than `count` files would be left for training.
    """
    if count * 2 > len(files):
        raise UserError(f"--val_count {count}: the dataroot has only {len(files)} images; hold out at most half.")
    held = spread(count, len(files))
    return files.at(np.delete(np.arange(len(files)), held)) if held else files, files.at(held)
