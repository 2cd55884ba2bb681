"""Identity similarity: faces found and aligned on drawn faces whose points are known; networks by their files' keys."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data.builtin_faces import draw_face
from models import face_embedding
from models.face_embedding import IRSE50, MobileFaceNet, load_face_embedding
from models.networks import count_parameters
from tests.test_sparnet import fill, probe
from utils.errors import UserError
from utils.identity import TEMPLATE, IdentitySimilarity, align, find_points

REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("embedding") / "mobilefacenet.pth"
    torch.save(fill(MobileFaceNet().state_dict()), path)
    return str(path)


def five_points(face):
    """Eyes, nose tip and corners of the mouth of a drawn face, from its 68 points."""
    points = face.landmarks
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


@pytest.mark.parametrize("size", [64, 256])
def test_faces_are_found_where_they_were_drawn(size):
    for seed in (0, 3, 7):
        face = draw_face(seed, size)
        found = find_points(face.image)
        assert np.abs(found - five_points(face)).max() < 0.05 * size
    assert find_points(np.full((size, size, 3), 90, np.uint8)) is None


@pytest.mark.parametrize("size", [(112, 96), (112, 112)])
def test_aligned_faces_lie_on_the_template(size):
    """A disc on each point of a turned, moved and enlarged template comes to lie where the template has it."""
    angle, scale, shift = 0.4, 2.5, np.array([60.0, 20.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T + shift
    picture = np.zeros((400, 400, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(x * 16), round(y * 16)), 7 * 16, (255, 255, 255), -1, shift=4)
    face = align(picture, points.astype(np.float32), size)
    assert face.shape == (*size, 3)
    for x, y in TEMPLATE - ((112 - size[1]) / 2, 0):
        window = face[int(y) - 4:int(y) + 6, int(x) - 4:int(x) + 6, 0].astype(float)
        rows, columns = np.mgrid[int(y) - 4:int(y) + 6, int(x) - 4:int(x) + 6]
        centre = (window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()
        assert centre == pytest.approx((x, y), abs=0.3)


def test_similarity_is_the_cosine_of_the_aligned_faces(weights):
    similarity = IdentitySimilarity(weights, torch.device("cpu"))
    references = [draw_face(seed, 128).image for seed in (0, 3)] + [np.full((128, 128, 3), 90, np.uint8)]
    worse = [cv2.GaussianBlur(picture, (0, 0), 3) for picture in references]
    same, blurred = similarity(references, references, worse)
    assert same[:2] == pytest.approx([1, 1], abs=1e-6) and same[2] is blurred[2] is None
    for i in range(2):
        points = find_points(references[i])
        a, b = (similarity.net.vectors(torch.from_numpy(align(picture[i], points, (112, 96)) / 127.5 - 1).float()
                                       .permute(2, 0, 1)[None]) for picture in (references, worse))
        assert blurred[i] == pytest.approx(F.cosine_similarity(a, b).item(), abs=1e-5)
        assert blurred[i] < 0.9999


def test_the_networks_are_those_of_the_public_files(weights, monkeypatch):
    assert count_parameters(load_face_embedding(weights)) == 999_552
    with torch.device("meta"):
        net = IRSE50()
    assert count_parameters(net) == 43_797_696
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert len([key for key in shapes if key.startswith("body.") and key.endswith("res_layer.5.fc1.weight")]) == 24
    assert shapes["input_layer.2.weight"] == (64,) and shapes["output_layer.3.weight"] == (512, 25088)
    assert shapes["body.3.shortcut_layer.0.weight"] == (128, 64, 1, 1)
    assert "body.0.shortcut_layer.0.weight" not in shapes
    monkeypatch.setattr(face_embedding, "IRSE50", lambda: net.to_empty(device="cpu"))
    monkeypatch.setattr(face_embedding, "read_weights", lambda path: {
        key: torch.zeros(()).expand(shape) for key, shape in shapes.items()})
    assert load_face_embedding("model_ir_se50.pth") is net


def test_irse50s_block_computed_plainly():
    block = face_embedding._ImprovedResidual(16, 32, stride=2)
    block.load_state_dict(fill(block.state_dict()))
    s, x = block.eval().state_dict(), probe((2, 16, 8, 8), 0)

    def norm(x, key):
        return F.batch_norm(x, s[f"{key}.running_mean"], s[f"{key}.running_var"], s[f"{key}.weight"], s[f"{key}.bias"])
    y = F.conv2d(norm(x, "res_layer.0"), s["res_layer.1.weight"], padding=1)
    y = torch.where(y > 0, y, y * s["res_layer.2.weight"].view(1, -1, 1, 1))
    y = norm(F.conv2d(y, s["res_layer.3.weight"], stride=2, padding=1), "res_layer.4")
    squeezed = F.relu(y.mean((2, 3)) @ s["res_layer.5.fc1.weight"][..., 0, 0].T)
    y = y * torch.sigmoid(squeezed @ s["res_layer.5.fc2.weight"][..., 0, 0].T)[..., None, None]
    shortcut = norm(F.conv2d(x, s["shortcut_layer.0.weight"], stride=2), "shortcut_layer.1")
    torch.testing.assert_close(block(x), y + shortcut)


def test_other_files_are_refused_with_the_addresses(tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for name in ("other.pth", "none.pth"):
        with pytest.raises(UserError, match="--identity_path: the weights of a MobileFaceNet.*IR-SE50 .*https://"):
            load_face_embedding(str(tmp_path / name))


@pytest.mark.skipif(not (REAL / "weights" / "mobilefacenet_casia_112x96.pth").exists(),
                    reason="no folder of real faces beside the project")
def test_a_trained_embedding_tells_people_apart():
    """Measured: the same person 0.51, others 0.002, means over 40 people of CelebA's test part."""
    from PIL import Image
    similarity = IdentitySimilarity(str(REAL / "weights" / "mobilefacenet_casia_112x96.pth"), torch.device("cpu"))
    paths = sorted((REAL / "celebahq512_pairs" / "test" / "gt").glob("*.jpg"))[:6]
    faces = [np.asarray(Image.open(path).convert("RGB").resize((256, 256))) for path in paths]
    worse = [cv2.GaussianBlur(face, (0, 0), 3) for face in faces]
    mirrored = [face[:, ::-1] for face in faces]
    blurred, other = similarity(faces, worse, faces[1:] + faces[:1])
    assert np.mean(blurred) > 0.6 and np.mean(other) < 0.3
    assert all(s is not None for s in similarity(mirrored, worse)[0])
