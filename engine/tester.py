"""What newtest.py does, to be read from top to bottom: Tester.run."""
import csv
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch

import utils.device
from data import find_dataset
from data.loader import BadImages, InOrder, make_loader
from engine.evaluate import average, restore_all, score_faces, to_device
from engine.run_folder import check_name
from metrics.perceptual import JUDGED, PerceptualMetrics, summarise, summary_lines
from metrics.prior_maps import PriorMetrics
from metrics.prior_maps import summary_lines as prior_lines
from metrics.psnr_ssim import PROTOCOLS, quantize
from models import build_recipe
from models.weights import count_parameters, load_weights
from utils import amp, distributed
from utils.errors import UserError
from utils.images import grid, output_names, save_image
from utils.pretrained import sha256
from utils.version import VERSION, commit

SHOWN = 8  # faces in samples.png


class Tester:
    """One evaluation, from its options. `run()` does it and returns the exit status."""

    def __init__(self, options):
        self.options = o = options
        check_name(o.name)
        self.device = distributed.join_ranks(o)
        self.recipe = build_recipe(o)
        self.prior_metrics, self.priors_absent, self.prior_titles = None, [], None
        self.dataset = self._make_dataset()
        self.titles = {"bicubic": find_dataset(o.dataset_name).input_title, "sr": o.name[:20]}
        self.folder = Path(o.results_dir) / o.name
        try:
            (self.folder / "restored").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--results_dir: cannot write into {self.folder}: {error.strerror}.") from None
        self.half = getattr(torch, o.amp_dtype) if o.amp_dtype else utils.device.default_half(self.device)
        net = self.recipe.networks["G"]
        load_weights(net, o.pretrain_model_path)
        net.to(self.device, memory_format=utils.device.memory_format(self.device)).eval()
        self.parameters = count_parameters(net)
        amp.prepare_inference(net, o.opt_level, self.half)
        self.perceptual = PerceptualMetrics(o, self.device)
        if o.fid_path and len(self.dataset) < 2:
            raise UserError("--fid_path: FID compares sets of faces; one face is none.")

    def _make_dataset(self):
        o = self.options
        common = {"load_size": o.load_size, "min_size": o.min_size, "on_bad_image": o.on_bad_image}
        dataset = find_dataset(o.dataset_name)
        references = dataset.list_faces(o.gtroot, "--gtroot") if o.gtroot else None
        if not o.dataroot:
            if not dataset.trains:
                raise UserError(f"--dataset_name {o.dataset_name} reads faces to restore and makes none: give "
                                f"--dataroot, or another --dataset_name.")
            common |= {"scale_factor": o.scale_factor, "augmentation": "none"}
            references = references[:o.max_images]
            if not dataset.takes_priors:
                if self.recipe.prior_maps:
                    self.priors_absent = [f"landmark error and parsing overlap absent: --dataset_name {o.dataset_name} "
                                          f"has no priors."]
                return dataset(references, **common)
            if self.recipe.prior_maps:
                try:
                    self.prior_metrics = PriorMetrics(dataset, o.priors, self.recipe.prior_maps)
                    return dataset(references, priors=o.priors, **common)
                except UserError as error:
                    self.prior_metrics = None
                    self.priors_absent = [f"landmark error and parsing overlap absent: {error}"]
            return dataset(references, priors="none", **common)
        if references and self.recipe.prior_maps:
            self.priors_absent = ["landmark error and parsing overlap absent: they are measured on --gtroot alone, "
                                  "without --dataroot."]
        inputs = find_dataset(dataset.input_dataset)
        faces = inputs.list_faces(o.dataroot, "--dataroot")[:o.max_images]
        return inputs(faces, references=references, **common)

    def run(self):
        o, ranks = self.options, distributed.world_size()
        if distributed.is_main():
            print(utils.device.banner(self.device, o.opt_level, self.half, o.workers))
            print(f"Restoring {len(self.dataset)} faces with {o.pretrain_model_path} ({self.parameters / 1e6:.3f} M "
                  f"parameters{f', {ranks} ranks' if distributed.launched() else ''})", flush=True)
            for line in self.dataset.warnings:
                print(f"warning: {line}", flush=True)
        bad = BadImages(len(self.dataset), o.on_bad_image, print)
        order = InOrder(len(self.dataset), o.batch_size, distributed.rank(), ranks)
        names = output_names(self.dataset.paths, o.dataroot or o.gtroot)
        rows, samples, seconds = {}, {}, 0.0
        start = time.perf_counter()
        for batch, sr, priors in restore_all(self.recipe, make_loader(self.dataset, order, o.workers), self.device):
            seconds += time.perf_counter() - start  # sr is on the host: the device is done
            bad.check(batch)
            kept = [i for i, replaced in zip(batch["index"], batch["replaced"], strict=True) if not replaced]
            protocols = score_faces(sr, batch, PROTOCOLS) if "hr" in batch else [{} for _ in kept]
            scores = [protocols, self.perceptual.score(sr, batch)]
            if self.prior_metrics and kept:
                scores.append(self.prior_metrics.score(priors, batch))
            rows |= {i: {k: v for part in parts for k, v in part.items()}
                     for i, parts in zip(kept, zip(*scores, strict=True), strict=True)}
            if self.recipe.prior_maps and kept and self.prior_titles is None and distributed.is_main():
                from engine.report import picture_grid  # not at the top: matplotlib takes a second to import
                shown, self.prior_titles = picture_grid(self.recipe, to_device(batch, self.device), rows=SHOWN)
                save_image(shown, self.folder / "priors.png")
            samples |= self._write_pictures(batch, sr, names)
            start = time.perf_counter()
        references = self._reference_features(bad)
        parts = distributed.gather((rows, samples, seconds, bad.report()))
        if distributed.is_main():
            self._report(parts, names, references)
        return 0

    def _reference_features(self, bad):
        """FID's features of the faces in --fid_reference, all ranks' together; None without such a folder."""
        o = self.options
        if not (o.fid_path and o.fid_reference):
            return None
        single = find_dataset("single")
        faces = single(single.list_faces(o.fid_reference, "--fid_reference"), load_size=o.load_size,
                       on_bad_image=o.on_bad_image)
        order = InOrder(len(faces), o.batch_size, distributed.rank(), distributed.world_size())
        found = []
        for batch in make_loader(faces, order, o.workers):
            bad.check(batch)
            kept = [i for i, replaced in enumerate(batch["replaced"]) if not replaced]
            if kept:
                found.append(self.perceptual.features(np.asarray(batch["lr"])[kept]))
        return np.concatenate([part for parts in distributed.gather(found) for part in parts])

    def _report(self, parts, names, references):
        """The last words, from every rank's ({index: scores}, {index: pictures}, seconds, lines on bad images).

        references: features of --fid_reference, or None.
        """
        rows, samples = ({i: value for part in parts for i, value in part[k].items()} for k in (0, 1))
        if samples:
            save_image(grid([samples[i] for i in sorted(samples)]), self.folder / "samples.png")
        print(f"Restoring took {len(self.dataset) / max(part[2] for part in parts):.2f} images/sec (reading included, "
              f"scoring and writing left out)")
        for line in (line for part in parts for line in part[3]):
            print(line)
        scored = sorted(rows)
        has_references = bool(rows) and "sparnet" in rows[scored[0]]
        summary = summarise([rows[i] for i in scored], references)
        if has_references or summary:
            self._report_scores([rows[i] for i in scored], [names[i] for i in scored], summary)
        if self.prior_titles:
            print(f"Priors: {self.folder}/priors.png ({self.prior_titles})")
        print(f"Pictures: {self.folder}/restored, {self.folder}/samples.png "
              f"({'LR | SR | HR' if has_references else 'LR | SR'})")

    def _write_pictures(self, batch, sr, names):
        """Write the restored faces; returns {index: [pictures for samples.png]} of the first ones."""
        samples = {}
        pictures = quantize(sr, "round")
        for i, index in enumerate(batch["index"]):
            if batch["replaced"][i]:
                continue
            save_image(pictures[i], self.folder / "restored" / names[index])
            if index < SHOWN:
                samples[index] = [np.asarray(batch["lr"][i]), pictures[i],
                                  *([np.asarray(batch["hr"][i])] if "hr" in batch else [])]
        return samples

    def _report_scores(self, rows, scored, summary):
        """Print and write what `rows` say of the faces called `scored`; summary: of metrics/perceptual.py."""
        o = self.options
        protocols = [p for p in PROTOCOLS if p in rows[0]]  # none without references
        table = {p: {which: dict(zip(("psnr", "ssim"), average(rows, p, which), strict=True)) for which in JUDGED}
                 for p in protocols}
        print(f"\n{len(rows)} faces        " + "".join(f"{p:>22}" for p in protocols))
        if protocols:
            for which, title in self.titles.items():
                print(f"{title:20}" + "".join(
                    f"{table[p][which]['psnr']:>13.4f} / {table[p][which]['ssim']:.4f}" for p in protocols))
            gain = {p: table[p]["sr"]["psnr"] - table[p]["bicubic"]["psnr"] for p in protocols}
            print(f"{'gain in dB':20}" + "".join(f"{gain[p]:>+13.4f}         " for p in protocols) + "\n")
        of_priors = self.prior_metrics.summarise(rows) if self.prior_metrics else {}
        for line in [*prior_lines(of_priors), *self.priors_absent, *summary_lines(summary, len(rows), self.titles),
                     *self.perceptual.absent]:
            print(line)
        report = {"faces": len(rows), "protocols": table, "priors": of_priors, **summary, "name": o.name,
                  "weights": str(o.pretrain_model_path), "weights_sha256": sha256(o.pretrain_model_path),
                  "parameters": self.parameters, "device": str(self.device), "opt_level": o.opt_level,
                  "version": VERSION, "commit": commit(), "command": shlex.join(["python", *sys.argv])}
        (self.folder / "scores.json").write_text(json.dumps(report, indent=1) + "\n")
        of_each = [metric for metric in ("lpips", "identity") if metric in summary]
        prior_columns = self.prior_metrics.columns if self.prior_metrics else []
        with open(self.folder / "faces.csv", "w", newline="", errors="surrogateescape") as file:
            table_of_faces = csv.writer(file)
            table_of_faces.writerow(["file"] + [f"{p}_{which}_{metric}" for p in protocols
                                                for which in ("sr", "bicubic") for metric in ("psnr", "ssim")]
                                    + [f"{metric}_{which}" for metric in of_each for which in JUDGED] + prior_columns)
            table_of_faces.writerows([name] + [value for p in protocols for which in ("sr", "bicubic")
                                               for value in row[p][which]]
                                     + [row[metric][which] for metric in of_each for which in JUDGED]
                                     + (self.prior_metrics.cells(row) if prior_columns else [])
                                     for name, row in zip(scored, rows, strict=True))
        if protocols:
            print(f"Accuracy: {table['sparnet']['sr']['psnr']:.4f} dB PSNR, {self.titles['bicubic']} "
                  f"{table['sparnet']['bicubic']['psnr']:.4f} dB (protocol sparnet)")
        print(f"Scores: {self.folder}/scores.json, of every face: {self.folder}/faces.csv")
