"""Identity similarity: is the restored face still the same person? By an embedding network given by path.

Each face is found in the reference picture (YuNet, pretrained/yunet), laid by its five points onto the template that
embeddings are trained with (SphereFace and ArcFace), and compared by the cosine of its vectors: 1 for the same picture,
about 0 for other people. The picture judged is cut like its reference, as both show the same face at the same place.
"""
import cv2
import numpy as np
import torch
from skimage.transform import SimilarityTransform

from models.face_embedding import load_face_embedding
from utils.images import to_tensor_range
from utils.pretrained import FOLDER

DETECTOR = FOLDER / "yunet" / "yunet_n_dynamic.onnx"
SMALLEST_SIDE = 256  # smaller pictures are enlarged for the detector
CONFIDENCE = 0.6
# Eyes, nose tip and corners of the mouth in a 112x112 crop, the picture's left first; a 112x96 crop lacks 8 columns on
# either side.
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                     (70.7299, 92.2041)], np.float32)


def find_points(picture, detector=None):
    """float32 [5, 2], (x, y) in pixels: eyes, nose tip, corners of the mouth, of the surest face; None without a face.

    picture: uint8 HWC RGB.
    """
    height, width = picture.shape[:2]
    scale = max(1.0, SMALLEST_SIDE / min(height, width))
    if scale > 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    detector = detector or make_detector()
    detector.setInputSize((picture.shape[1], picture.shape[0]))
    _, found = detector.detect(np.ascontiguousarray(picture[..., ::-1]))  # it wants BGR
    if found is None:
        return None
    surest = max(found, key=lambda face: face[-1])
    return (surest[4:14].reshape(5, 2) + 0.5) / scale - 0.5


def make_detector():
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a target nobody asked for
    try:
        return cv2.FaceDetectorYN.create(str(DETECTOR), "", (SMALLEST_SIDE, SMALLEST_SIDE), CONFIDENCE)
    finally:
        cv2.utils.logging.setLogLevel(level)


def align(picture, points, size):
    """The face in uint8 HWC RGB `picture` whose five points are `points`, laid onto the template: uint8 [*size, 3]."""
    target = TEMPLATE - ((112 - size[1]) / 2, 0)
    matrix = SimilarityTransform.from_estimate(points, target).params[:2]
    return cv2.warpAffine(picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)


class IdentitySimilarity:
    """The cosine of pictures' vectors to those of their references. UserError, naming --identity_path, for bad weights.

    path: weights of a network of models/face_embedding.py. It works in float32 on `device`.
    """

    def __init__(self, path, device):
        self.net = load_face_embedding(path).to(device)
        self.device = device
        self.detector = make_detector()

    @torch.no_grad()
    def __call__(self, references, *others):
        """One list for each of `others`: cosines in [-1, 1], None where no face is found in the reference.

        All are lists of uint8 HWC RGB pictures; the i-th of each shows the same face at the same place.
        """
        points = [find_points(picture, self.detector) for picture in references]
        kept = [i for i, found in enumerate(points) if found is not None]
        if not kept:
            return [[None] * len(references) for _ in others]
        crops = np.stack([align(pictures[i], points[i], self.net.size) for pictures in (references, *others)
                          for i in kept])
        vectors = self.net(to_tensor_range(torch.from_numpy(crops).to(self.device))).cpu()
        reference, *rest = vectors.split(len(kept))
        found = []
        for part in rest:
            cosines = dict(zip(kept, (part * reference).sum(1).tolist(), strict=True))
            found.append([cosines.get(i) for i in range(len(references))])
        return found
