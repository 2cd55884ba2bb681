"""From datasets to batches: order of samples, workers, and the report on damaged files."""
import atexit
import multiprocessing
import os
import signal

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from data.face_folder import Place
from utils.errors import UserError

MAX_BAD_SHARE = 0.01


class TrainingOrder(Sampler):
    """Batches of Places without end: each epoch a new permutation from (seed, epoch), each image once in it.

    Starts at sample number `start` of the whole training, counted in images, so that a resumed run goes on
    exactly where it stopped. Batches are all equally large: one that an epoch does not fill takes the first
    images of the next epoch. With several ranks, the ranks' batches laid side by side are what one rank with a
    batch so large would take: each image is used exactly once over all ranks.
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
    """Batches of Places once through a dataset, the last one as large as what is left.

    With several ranks, this one's part: every `ranks`-th image, so that all parts together hold each image once.
    """

    def __init__(self, length, batch_size, rank=0, ranks=1):
        self.indices, self.batch_size = range(rank, length, ranks), batch_size

    def __len__(self):
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.indices), self.batch_size):
            yield [Place(0, i) for i in self.indices[start:start + self.batch_size]]


def collate(samples):
    """{name: uint8 tensor [N, H, W, 3]; 'index', 'replaced', 'notes': lists; 'complete': bool} of samples."""
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
    """A DataLoader of `order`'s batches, prepared by `workers` processes (0: in this one) ahead of time."""
    return DataLoader(
        dataset, batch_sampler=order, num_workers=workers, collate_fn=collate, pin_memory=pin_memory,
        persistent_workers=workers > 0, prefetch_factor=4 if workers else None,
        worker_init_fn=set_up_worker if workers else None,
        generator=torch.Generator())  # its own: starting a loader must not move the random numbers of the training


def set_up_worker(worker):
    torch.set_num_threads(1)  # there are many workers
    # A signal to the trainer's whole group (Ctrl-C, a scheduler), or to all processes of its name (pkill), is the
    # trainer's affair, which still needs the workers for its step. It ends them itself, and they end when it is gone.
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def end_workers():
    """Of a program that ends while it still holds a loader, by an exception say: multiprocessing would ask them by
    SIGTERM, which they ignore, and wait for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report each as a failure
    for worker in multiprocessing.active_children():
        worker.kill()


class BadImages:
    """Counts what the datasets' notes say; stops the run where too much is wrong."""

    def __init__(self, total, on_bad_image, log, bad=None):
        self.total, self.stop_at_first, self.log = total, on_bad_image == "stop", log
        self.bad = {} if bad is None else bad  # {path: message}; updated in place
        self.small, self.cache_failed = set(), False

    def check(self, batch):
        """Take in a batch's notes. UserError at the first bad file or past 1 %, as --on_bad_image has it."""
        now_bad = [f"{path}: {what}" for kind, path, what in batch["notes"] if kind == "bad"]
        for kind, path, what in batch["notes"]:
            if kind == "small":
                if not self.small:
                    self.log(f"warning: {path} ({what}) is smaller than --load_size and is enlarged; the log's "
                             f"end says how many were (--min_size refuses them).")
                self.small.add(path)
            elif kind == "cache":
                if not self.cache_failed:
                    self.log(f"warning: --cache_folder: cannot write into {what}; such faces are resized each time.")
                self.cache_failed = True
            elif path not in self.bad:
                self.bad[path] = f"{path}: {what}"
                self.log(f"warning: bad image {len(self.bad)}: {path}: {what}")
        if now_bad and self.stop_at_first:  # a resumed run may know of others, mended since
            raise UserError(f"bad image (and --on_bad_image stop): {now_bad[0]}", status=1)
        if len(self.bad) > MAX_BAD_SHARE * self.total:
            raise UserError(f"{len(self.bad)} of {self.total} images are bad, more than 1 %; the last: "
                            f"{list(self.bad.values())[-1]}. Mend or remove them.", status=1)
        if not batch["complete"]:
            raise UserError(f"too many bad images in a row, the last: {': '.join(batch['notes'][-1][1:])}.",
                            status=1)

    def report(self):
        """Lines for the end of the log; none where all was well."""
        lines = [f"Bad images: {len(self.bad)}, each replaced by the next one in the folder:"] if self.bad else []
        lines += [f"  {text}" for text in self.bad.values()]
        if self.small:
            lines.append(f"Images smaller than --load_size, enlarged: {len(self.small)}")
        return lines


def spread(count, total):
    """`count` of the indices 0..total-1, evenly spread."""
    return [i * total // count for i in range(count)]


def hold_out(files, count):
    """(FileList to train on, FileList to validate on): `count` files, evenly spread over the list, held out.

    UserError when fewer than `count` would be left to train on.
    """
    if count * 2 > len(files):
        raise UserError(f"--val_count {count}: the dataroot has only {len(files)} images; hold out at most half.")
    held = spread(count, len(files))
    return files.at(np.delete(np.arange(len(files)), held)) if held else files, files.at(held)
