# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""What is mutated, and what must come of it: the program serves the mutant, or refuses it in words.

A Kind makes mutants of one sort and gives them to the programs' own main functions, in this process. It raises Fault if
an exception passes an entry point, if an exit status does not say what happened, or if a result is wrong.
"""
import contextlib
import io
import os
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

import newtest
import newtrain
from benchmarks.fuzzing import mutations
from benchmarks.fuzzing.mutations import mutated_bytes, mutated_text, mutated_value, random_text
from engine import checkpoint
from engine.trainer import Trainer
from options.presets import preset_files
from options.test_options import test_parser
from options.train_options import parse_train, train_parser
from restore.restorer import Restorer
from tools import export_weights
from utils.errors import run_main
from utils.images import EXTENSIONS, BadImage, read_rgb

TINY = {"load_size": 32, "min_ch": 4, "max_ch": 8, "hourglass_ch": 4, "res_depth": 0, "bottleneck_size": 16,
        "batch_size": 2, "workers": 0, "device": "cpu", "print_freq": 50, "ema_decay": 0.99, "Gnorm": "none"}
TINY_WORDS = [f"--{option}={value}" for option, value in TINY.items()]
FACES = 6
TRAINED_OF = 20  # one of so many accepted trainings makes its step, the others are set up only; likewise restorations
# Options that name a folder to write into: their values stay below the fuzzer's own folder.
OUTPUTS = ("checkpoints_dir", "results_dir", "cache_folder", "output_path", "train_url")
MODELS = ("sparnet", "sparnethd", "fsrnet", "gpen")
MODES = ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16", "F")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".webp": "WEBP", ".gif": "GIF", ".ppm": "PPM"}


class Fault(Exception):
    """A mutant was neither served rightly nor refused in words."""


def call(main, words):
    """Runs an entry point with these command-line words. Returns (exit status, stdout, stderr).

    Raises what passes the entry point, and Fault if status and messages do not fit together.
    """
    class Left(BaseException):
        pass

    def leave(status):
        raise Left(status)

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    argv, sys.argv = sys.argv, ["fuzz", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run_main(main, leave)
    except Left as left:
        status = left.args[0]
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv = argv
    out, err = (stream.buffer.getvalue().decode() for stream in (_flushed(out), _flushed(err)))
    if "Traceback" in err + out:
        raise Fault(f"a traceback was printed: {err[-2000:]}")
    if status not in (0, None) and "error:" not in err:
        raise Fault(f"exit status {status} without a message: {err[-500:]!r}")
    if status in (0, None) and "error:" in err:
        raise Fault(f"exit status 0 after {err[-500:]!r}")
    return status or 0, out, err


def _flushed(stream):
    stream.flush()
    return stream


class Kind:
    """One sort of input. `batch`: mutants per `run`; `run` returns how many of them were served.

    folder: of this process, empty; everything is written below it.
    """
    batch = 1

    def __init__(self, folder):
        self.folder = Path(folder)
        rng = np.random.default_rng(0)
        self.faces = self.folder / "faces"
        self.faces.mkdir()
        for i in range(FACES):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(self.faces / f"{i}.png")
        self.runs = self.folder / "runs"

    def trained(self):
        """Trains two steps of a tiny network and returns the run's folder."""
        status, _, err = call(newtrain.main, [*TINY_WORDS, f"--dataroot={self.faces}", "--train_steps=2", "--name=base",
                                              f"--checkpoints_dir={self.runs}"])
        if status:
            raise RuntimeError(err)
        return self.runs / "base"

    def run(self, rng):
        raise NotImplementedError


class Folder(Kind):
    """Base class of the kinds that fill a folder with `batch` files, which newtest.py restores."""
    batch = 40

    def __init__(self, folder):
        super().__init__(folder)
        self.weights = self.trained() / "latest_net_G.pth"
        self.mutants = self.folder / "mutants"

    def empty(self):
        """Makes the folder of mutants anew."""
        shutil.rmtree(self.mutants, ignore_errors=True)
        self.mutants.mkdir()

    def restore(self, expected, complete):
        """Restores the mutants. Raises Fault unless `expected` images are written and the status is 0 if `complete`."""
        results = self.folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        status, out, err = call(newtest.main, [f"--pth_path={self.weights}", f"--dataroot={self.mutants}", "--name=t",
                                               f"--results_dir={results}", "--device=cpu", "--workers=0"])
        written = sum(len(files) for _, _, files in os.walk(results / "t" / "restored"))
        if written != expected or (status == 0) != complete:
            raise Fault(f"exit status {status}, {written} of {expected} images written: {out[-500:]}{err[-500:]}")


class Images(Folder):
    """Image files of many formats and modes with changed bytes."""

    def __init__(self, folder):
        super().__init__(folder)
        self.originals = []
        pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
        for mode in MODES:
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else \
                Image.fromarray(pixels).convert(mode)
            for suffix, form in FORMATS.items():
                for words in ({}, {"exif": _rotated()}):
                    buffer = io.BytesIO()
                    with contextlib.suppress(OSError, ValueError, KeyError):  # a mode that the format has not
                        image.save(buffer, form, **words)
                        self.originals.append((suffix, buffer.getvalue()))

    def run(self, rng):
        self.empty()
        readable = 0
        for i in range(self.batch):
            suffix, content = rng.choice(self.originals)
            path = self.mutants / f"{i:03d}{suffix}"
            path.write_bytes(mutated_bytes(content, rng))
            with contextlib.suppress(BadImage):
                readable += bool(read_rgb(path))
        self.restore(readable, readable == self.batch)
        return readable


class Names(Folder):
    """Images under odd file and folder names."""

    def __init__(self, folder):
        super().__init__(folder)
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "PNG")
        self.image = buffer.getvalue()

    def run(self, rng):
        self.empty()
        made = set()
        for _ in range(self.batch):
            with contextlib.suppress(OSError, ValueError):  # a name that no file can have
                path = self.mutants / self._name(rng)
                if path.exists() or not path.resolve().is_relative_to(self.mutants.resolve()):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.image)
                made.add(os.fsencode(os.path.relpath(path, self.mutants)))
        shown = [name for name in made if os.path.splitext(os.fsdecode(name))[1].lower() in EXTENSIONS
                 and not any(part.startswith(b".") for part in name.split(b"/"))]
        self.restore(len(shown), bool(shown))
        return self.batch

    def _name(self, rng):
        stem = rng.choice((random_text(rng, 8), random_text(rng, 8), "a", "A", "0801", "0801x8", "é", "e\u0301",
                           "a" * rng.choice((200, 240, 250, 251, 255))))
        if rng.random() < 0.2:
            stem = unicodedata.normalize(rng.choice(("NFC", "NFD")), stem)
        folder = rng.choice(("", "", "", "b/", ".h/", "b/c/", "a.png/", random_text(rng, 6).replace("/", "") + "/"))
        return folder + stem + rng.choice((".png", ".png", ".PNG", ".jpg", ".jpeg", ".webp", ".png.png", ".txt", ""))


class Presets(Kind):
    """Preset files with changed text: the project's, read; and tiny ones, whose training is set up, too."""

    def __init__(self, folder):
        super().__init__(folder)
        self.shipped = [path.read_text(encoding="utf-8") for path in preset_files().values()]
        self.tiny = yaml.safe_dump(TINY | {"model": "sparnet", "lr_decay_at": [0.5, 0.9], "lr_policy": "step"})

    def run(self, rng):
        shutil.rmtree(self.runs, ignore_errors=True)
        path = self.folder / "mutant.yml"
        tiny = rng.random() < 0.5
        text = mutated_text(self.tiny if tiny else rng.choice(self.shipped), rng)
        content = text.encode("utf-8", "surrogatepass")
        path.write_bytes(mutated_bytes(content, rng) if rng.random() < 0.2 else content)
        words = [f"--preset={path}", f"--dataroot={self.faces}", f"--checkpoints_dir={self.runs}", "--train_steps=1"]

        def main():
            options = parse_train(words)
            if tiny and options.model == "sparnet":
                Trainer(options)
            return 0
        return int(call(main, words)[0] == 0)


class Arguments(Kind):
    """Command lines with hostile values, wrong flags and stray words, for newtrain.py and newtest.py."""
    def __init__(self, folder):
        super().__init__(folder)
        self.weights = self.trained() / "latest_net_G.pth"
        parsers = {"newtrain": map(train_parser, MODELS), "newtest": (test_parser(model)[0] for model in MODELS)}
        self.flags = {program: sorted({flag for parser in of_models for flag in parser._option_string_actions
                                       if flag.startswith("--")}) for program, of_models in parsers.items()}

    def run(self, rng):
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        program = rng.choice(("newtrain", "newtrain", "newtest"))
        if program == "newtrain":
            words = [*TINY_WORDS, f"--dataroot={self.faces}", f"--checkpoints_dir={out}", "--train_steps=1"]
        else:
            words = [f"--pth_path={self.weights}", f"--dataroot={self.faces}", f"--results_dir={out}", "--device=cpu",
                     "--workers=0", "--name=t"]
        for _ in range(rng.choice((1, 1, 2, 3))):
            self._change(words, self.flags[program], rng, out)
        train = rng.randrange(TRAINED_OF) == 0

        def main():
            trainer = Trainer(parse_train(words))
            return trainer.fit() if train else 0
        where = os.getcwd()
        os.chdir(self.folder)
        try:
            return int(call(main if program == "newtrain" else newtest.main, words)[0] == 0)
        finally:
            os.chdir(where)

    def _change(self, words, flags, rng, out):
        act = rng.randrange(8)
        if act == 0:
            words.insert(rng.randrange(len(words) + 1), random_text(rng))
        elif act == 1:
            del words[rng.randrange(len(words))]
            if not any(word.startswith(("--checkpoints_dir", "--results_dir")) for word in words):
                words.append(f"--{'results' if any('pth_path' in w for w in words) else 'checkpoints'}_dir={out}")
        elif act == 2:
            flag = list(rng.choice(flags))
            flag[rng.randrange(len(flag))] = rng.choice("abcz_-X=")
            words.append("".join(flag))
        else:
            flag = rng.choice([f for f in flags if f not in ("--help", "--device")])
            value = rng.choice((*(rng.choice(odd) for odd in (mutations.HOSTILE_NUMBERS, mutations.HOSTILE_WORDS)),
                                random_text(rng)))
            if flag.lstrip("-") in OUTPUTS:
                value = f"{out}/{value.replace('..', '')}"
            words.extend([f"{flag}={value}"] if rng.random() < 0.8 else [flag, value])


class States(Kind):
    """Checkpoints of a training with changed bytes or changed content, from which --continue_train goes on."""

    def __init__(self, folder):
        super().__init__(folder)
        base = self.trained()
        self.content = checkpoint.list_states(base)[-1].read_bytes()
        self.state, damage = checkpoint.read_state(checkpoint.list_states(base)[-1])
        assert not damage
        self.options = (base / "options.yml").read_bytes()

    def run(self, rng):
        run = self.folder / "going_on" / "t"
        shutil.rmtree(run.parent, ignore_errors=True)
        run.mkdir(parents=True)
        (run / "options.yml").write_bytes(self.options)
        damaged = rng.random() < 0.4
        if damaged:
            content = mutated_bytes(self.content, rng)
        else:
            buffer = io.BytesIO()
            torch.save(mutated_value(self.state, rng), buffer)
            content = buffer.getvalue()
        checkpoint.state_path(run, 2).write_bytes(content)
        train, trainers = rng.randrange(TRAINED_OF) == 0, []

        def main():
            trainers.append(Trainer(parse_train(words)))
            return trainers[0].fit() if train else 0
        words = [*TINY_WORDS, f"--dataroot={self.faces}", "--train_steps=3", "--name=t",
                 f"--checkpoints_dir={run.parent}", "--continue_train"]
        status, _, _ = call(main, words)
        if status == 0 and not train:
            weights = trainers[0].networks["G"].state_dict()
            if damaged and not _same(weights, self.state["networks"]["G"]):
                raise Fault("went on from a damaged checkpoint without a word")
            if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
                raise Fault("went on with weights that are not finite")
        return int(status == 0)


class Weights(Kind):
    """Weights files, torch's and safetensors, with changed bytes or content, from which faces are restored."""

    def __init__(self, folder):
        super().__init__(folder)
        base = self.trained()
        source, exported = base / "latest_net_G.pth", self.folder / "w.safetensors"
        export_weights.export(source, exported, licence="none")
        self.weights = self.folder / "weights"
        self.weights.mkdir()
        shutil.copy(base / "options.yml", self.weights)
        self.files = {path.suffix: path.read_bytes() for path in (source, exported)}
        self.states = {path.suffix: Restorer.load(path, "cpu").network.state_dict() for path in (source, exported)}

    def run(self, rng):
        suffix = rng.choice(list(self.files))
        damaged = rng.random() < 0.5
        if damaged:
            content = mutated_bytes(self.files[suffix], rng)
        else:
            suffix, buffer = ".pth", io.BytesIO()
            state = mutated_value(dict(self.states[suffix]), rng)
            torch.save({rng.choice(("params_ema", "state_dict", "x", "g_ema")): state} if rng.random() < 0.3 else state,
                       buffer)
            content = buffer.getvalue()
        path = self.weights / f"w{suffix}"
        path.write_bytes(content)
        if rng.randrange(TRAINED_OF) == 0:
            return int(call(newtest.main, [f"--pth_path={path}", f"--dataroot={self.faces}", "--device=cpu", "--name=t",
                                           f"--results_dir={self.folder / 'results'}", "--workers=0"])[0] == 0)
        loaded = []

        def main():
            loaded.append(Restorer.load(path, "cpu"))
            return 0
        status, _, _ = call(main, [str(path)])
        if status == 0:
            weights = loaded[0].network.state_dict()
            if damaged and not _same(weights, self.states[suffix]):
                raise Fault("loaded damaged weights without a word")
            if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
                raise Fault("loaded weights that are not finite")
        return int(status == 0)


def _rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


KINDS = {"images": Images, "names": Names, "presets": Presets, "arguments": Arguments, "states": States,
         "weights": Weights}
