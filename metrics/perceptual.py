"""LPIPS, identity similarity and FID beside PSNR: those whose weights were given, the others absent with a reason.

All judge the pictures as they are written (uint8), beside the network's input and against the reference.
"""
import numpy as np
import torch

import utils.device
from metrics.identity import IdentitySimilarity
from metrics.inception import INCEPTION_ADDRESS, load_inception
from metrics.lpips import ALEXNET_ADDRESS, load_lpips
from metrics.psnr_ssim import mean, quantize
from models.face_embedding import IR_SE50_ADDRESS
from utils.errors import UserError
from utils.images import to_tensor_range

JUDGED = ("bicubic", "sr")  # the network's input and its output, as in engine/evaluate.py
SMALLEST_FOR_LPIPS = 31  # pixels that AlexNet's layers need
FEW_FACES = 2048  # FID's covariance has so many rows; of fewer faces it depends on their number


class PerceptualMetrics:
    """The metrics that newtest.py's options give weights for. UserError where these do not fit.

    lpips: distance to the reference [0, about 1], less is better (Zhang et al., CVPR 2018; AlexNet).
    identity: cosine to the reference in [-1, 1], more is better (metrics/identity.py).
    fid: distance of the restored faces' distribution to the reference faces', less is better (Heusel et al. 2017).
    """

    def __init__(self, options, device):
        self.device = device
        if options.lpips_path and options.load_size < SMALLEST_FOR_LPIPS:
            raise UserError(f"--lpips_path: LPIPS needs {SMALLEST_FOR_LPIPS} pixels or more, --load_size is "
                            f"{options.load_size}.")
        self.lpips = load_lpips(options.lpips_path).to(device) if options.lpips_path else None
        self.identity = IdentitySimilarity(options.identity_path, device) if options.identity_path else None
        self.inception = None
        if options.fid_path:
            self.inception = load_inception(options.fid_path)
            self.inception.to(device, memory_format=utils.device.memory_format(device))
        asked = {"LPIPS": (self.lpips, "--lpips_path", f"AlexNet, {ALEXNET_ADDRESS}"),
                 "identity similarity": (self.identity, "--identity_path", f"MobileFaceNet or {IR_SE50_ADDRESS}"),
                 "FID": (self.inception, "--fid_path", f"Inception, {INCEPTION_ADDRESS}")}
        self.absent = [f"{name} absent: no {option} FILE was given ({source})."
                       for name, (net, option, source) in asked.items() if net is None]

    def score(self, sr, batch):
        """[{metric: {'bicubic': value, 'sr': value}}] for each face of a batch that did not replace a damaged file.

        sr: float NCHW RGB in [-1, 1]. FID's value is the face's features; those of the reference come under 'hr'.
        """
        kept = [i for i, replaced in enumerate(batch["replaced"]) if not replaced]
        if not kept:
            return []
        pictures = {"bicubic": np.asarray(batch["lr"])[kept], "sr": quantize(sr, "round")[kept]}
        rows = [{} for _ in kept]
        if "hr" in batch:
            reference = np.asarray(batch["hr"])[kept]
            if self.lpips:
                for which in JUDGED:
                    _put(rows, "lpips", which, self._lpips(pictures[which], reference))
            if self.identity:
                found = self.identity(list(reference), *(list(pictures[which]) for which in JUDGED))
                for which, values in zip(JUDGED, found, strict=True):
                    _put(rows, "identity", which, values)
            pictures["hr"] = reference
        if self.inception:
            for which, judged in pictures.items():
                _put(rows, "fid", which, self.features(judged))
        return rows

    @torch.no_grad()
    def _lpips(self, pictures, references):
        return self.lpips(self._tensor(pictures), self._tensor(references)).tolist()

    @torch.no_grad()
    def features(self, pictures):
        """float32 [N, 2048] of uint8 [N, H, W, 3]: what FID compares."""
        return self.inception(self._tensor(pictures)).cpu().numpy()

    def _tensor(self, pictures):
        return to_tensor_range(torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device))


def _put(rows, metric, which, values):
    for row, value in zip(rows, values, strict=True):
        row.setdefault(metric, {})[which] = value


def summarise(rows, reference_features=None):
    """{metric: {'bicubic': value, 'sr': value, 'faces': how many}} over PerceptualMetrics.score's rows of all faces.

    reference_features: of the faces that FID compares with, [M, 2048]; None: of the references in the rows.
    """
    summary = {}
    for metric in ("lpips", "identity"):
        found = [row[metric] for row in rows if metric in row and row[metric]["sr"] is not None]
        if found:
            summary[metric] = {which: mean([f[which] for f in found]) for which in JUDGED} | {"faces": len(found)}
    features = [row["fid"] for row in rows if "fid" in row]
    if features and reference_features is None and "hr" in features[0]:
        reference_features = np.stack([f["hr"] for f in features])
    if features and reference_features is not None:
        from metrics.fid import fid  # not at the top: torchmetrics takes a second to import
        summary["fid"] = {which: fid(reference_features, np.stack([f[which] for f in features])) for which in JUDGED}
        summary["fid"] |= {"faces": len(features), "reference_faces": len(reference_features)}
    return summary


def summary_lines(summary, faces, titles):
    """The table of `summarise`'s numbers of so many `faces` for the log; titles: {which of JUDGED: its column's}."""
    if not summary:
        return []
    lines = [f"{'':28}{titles['bicubic']:>12}{titles['sr']:>22}"]
    for metric, title in (("lpips", "LPIPS (less is better)"), ("identity", "identity similarity"),
                          ("fid", "FID (less is better)")):
        if metric not in summary:
            continue
        row = summary[metric]
        note = ""
        if metric == "identity" and row["faces"] < faces:
            note = f"   (a face was found in {row['faces']} of {faces})"
        elif metric == "fid":
            note = f"   ({row['faces']} faces against {row['reference_faces']}"
            note += f"; below {FEW_FACES} it depends on their number)" if min(
                row["faces"], row["reference_faces"]) < FEW_FACES else ")"
        lines.append(f"{title:28}{row['bicubic']:>12.4f}{row['sr']:>22.4f}{note}")
    return lines
