"""Data loading: sample order, worker processes, batches, and the report on corrupted files."""
import atexit
import multiprocessing
import os
import signal

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from data.face_folder import Place
from utils.errors import UserError
from utils.names import printable

MAX_BAD_SHARE, MAX_BAD = 0.01, 3  # bad images that a training tolerates: the larger of this share and this number


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
        elif name != "notes":
            batch[name] = [s[name] for s in usable]
    return batch


def make_loader(dataset, order, workers, pin_memory=False):
    """Returns a DataLoader of the batches of `order`; `workers` processes prefetch them (0: loads in this process)."""
    return DataLoader(
        dataset, batch_sampler=order, num_workers=workers, collate_fn=collate, pin_memory=pin_memory,
        persistent_workers=workers > 0, prefetch_factor=4 if workers else None,
        worker_init_fn=set_up_worker if workers else None,
        generator=torch.Generator())  # starting a loader must not advance the global random generator


def set_up_worker(worker):
    torch.set_num_threads(1)  # parallelism comes from the number of workers
    # Ctrl-C, a scheduler or pkill may signal the workers together with the trainer. Only the trainer must react: it
    # still needs the workers to finish its step. It stops them itself, and they exit when it is gone.
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
            self.bad[path] = f"{printable(path)}: {what}"
            self.log(f"warning: bad image {len(self.bad)}: {self.bad[path]}")

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
