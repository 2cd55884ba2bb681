"""What newtest.py does, to be read from top to bottom: Tester.run."""
import csv
import json
import os
import shlex
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from data import find_dataset
from data.loader import BadImages, InOrder, make_loader
from models import build_recipe
from models.networks import count_parameters, load_weights
from utils import amp
from utils import device as devices
from utils.errors import UserError
from utils.evaluate import average, restore_all, score_faces
from utils.images import grid, list_images, save_image
from utils.metrics import PROTOCOLS, quantize
from utils.pretrained import sha256
from utils.version import VERSION, commit

SHOWN = 8  # faces in samples.png


class Tester:
    """One evaluation, from its options. `run()` does it and returns the exit status."""

    def __init__(self, options):
        self.options = o = options
        self.device = devices.pick_device(o.device, o.device_id)
        devices.set_up(self.device)
        self.dataset = self._make_dataset()
        self.folder = Path(o.results_dir) / o.name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--results_dir: cannot write into {self.folder}: {error.strerror}.") from None
        self.half = getattr(torch, o.amp_dtype) if o.amp_dtype else devices.default_half(self.device)
        self.recipe = build_recipe(o)
        net = self.recipe.networks["G"]
        load_weights(net, o.pretrain_model_path)
        net.to(self.device, memory_format=devices.memory_format(self.device)).eval()
        self.parameters = count_parameters(net)
        amp.prepare_inference(net, o.opt_level, self.half)

    def _make_dataset(self):
        o = self.options
        common = {"load_size": o.load_size, "min_size": o.min_size, "on_bad_image": o.on_bad_image}
        references = list_images(o.gtroot, "--gtroot") if o.gtroot else None
        if not o.dataroot:
            return find_dataset("celeba")(references[:o.max_images], scale_factor=o.scale_factor, **common)
        faces = list_images(o.dataroot, "--dataroot")[:o.max_images]
        return find_dataset("single")(faces, references=references, **common)

    def run(self):
        o = self.options
        print(devices.banner(self.device, o.opt_level, self.half, o.workers))
        print(f"Restoring {len(self.dataset)} faces with {o.pretrain_model_path} "
              f"({self.parameters / 1e6:.3f} M parameters)", flush=True)
        bad = BadImages(len(self.dataset), o.on_bad_image, print)
        loader = make_loader(self.dataset, InOrder(len(self.dataset), o.batch_size), o.workers)
        names = output_names(self.dataset.paths, o.dataroot or o.gtroot)
        rows, scored, samples, seconds = [], [], [], 0.0
        start = time.perf_counter()
        for batch, sr in restore_all(self.recipe, loader, self.device):  # sr is on the host: the device is done
            seconds += time.perf_counter() - start
            bad.check(batch)
            if "hr" in batch:
                rows += score_faces(sr, batch, PROTOCOLS)
                scored += [names[i] for i, replaced in zip(batch["index"], batch["replaced"], strict=True)
                           if not replaced]
            self._write_pictures(batch, sr, names, samples)
            start = time.perf_counter()
        save_image(grid(samples), self.folder / "samples.png")
        print(f"Restoring took {len(self.dataset) / seconds:.2f} images/sec (reading included, scoring and "
              f"writing left out)")
        for line in bad.report():
            print(line)
        if rows:
            self._report_scores(rows, scored)
        print(f"Pictures: {self.folder}/restored, {self.folder}/samples.png "
              f"({'LR | SR | HR' if rows else 'LR | SR'})")
        return 0

    def _write_pictures(self, batch, sr, names, samples):
        pictures = quantize(sr, "round")
        for i, index in enumerate(batch["index"]):
            if batch["replaced"][i]:
                continue
            save_image(pictures[i], self.folder / "restored" / names[index])
            if len(samples) < SHOWN:
                samples.append([np.asarray(batch["lr"][i]), pictures[i]]
                               + ([np.asarray(batch["hr"][i])] if "hr" in batch else []))

    def _report_scores(self, rows, scored):
        o = self.options
        table = {p: {which: dict(zip(("psnr", "ssim"), average(rows, p, which), strict=True))
                     for which in ("bicubic", "sr")} for p in PROTOCOLS}
        print(f"\n{len(rows)} faces        " + "".join(f"{p:>22}" for p in PROTOCOLS))
        for which, title in (("bicubic", "bicubic"), ("sr", o.name[:20])):
            print(f"{title:20}" + "".join(
                f"{table[p][which]['psnr']:>13.4f} / {table[p][which]['ssim']:.4f}" for p in PROTOCOLS))
        gain = {p: table[p]["sr"]["psnr"] - table[p]["bicubic"]["psnr"] for p in PROTOCOLS}
        print(f"{'gain in dB':20}" + "".join(f"{gain[p]:>+13.4f}         " for p in PROTOCOLS) + "\n")
        report = {"faces": len(rows), "protocols": table, "name": o.name, "weights": str(o.pretrain_model_path),
                  "weights_sha256": sha256(o.pretrain_model_path), "parameters": self.parameters,
                  "device": str(self.device), "opt_level": o.opt_level, "version": VERSION, "commit": commit(),
                  "command": shlex.join(["python", *sys.argv])}
        (self.folder / "scores.json").write_text(json.dumps(report, indent=1) + "\n")
        with open(self.folder / "faces.csv", "w", newline="") as file:
            table_of_faces = csv.writer(file)
            table_of_faces.writerow(["file"] + [f"{p}_{which}_{metric}" for p in PROTOCOLS
                                                for which in ("sr", "bicubic") for metric in ("psnr", "ssim")])
            table_of_faces.writerows([name] + [value for p in PROTOCOLS for which in ("sr", "bicubic")
                                               for value in row[p][which]]
                                     for name, row in zip(scored, rows, strict=True))
        best = table["sparnet"]["sr"]
        print(f"Accuracy: {best['psnr']:.4f} dB PSNR, bicubic {table['sparnet']['bicubic']['psnr']:.4f} dB "
              f"(protocol sparnet)")
        print(f"Scores: {self.folder}/scores.json, of every face: {self.folder}/faces.csv")


def output_names(paths, root):
    """Relative .png names for restored faces, as nested as the inputs; no two of them the same."""
    names = [os.path.splitext(os.path.relpath(path, root))[0] + ".png" for path in paths]
    count = Counter(names)
    return [os.path.relpath(path, root) + ".png" if count[name] > 1 else name
            for path, name in zip(paths, names, strict=True)]
