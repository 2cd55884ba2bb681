"""Low-resolution faces alone, and with references."""
import numpy as np
import pytest
from PIL import Image

from data.face_folder import Place
from data.single_dataset import SingleDataset
from tests.helpers.faces import write_faces
from utils.errors import UserError
from utils.images import list_images


def test_single_enlarges_by_bicubic_and_finds_references(tmp_path):
    lr = write_faces(tmp_path / "lr", 2, size=(16, 16))
    hr = write_faces(tmp_path / "hr" / "deep", 2, size=(128, 128), first_seed=9)
    for path in list(hr.iterdir()):
        path.rename(path.with_suffix(".bmp"))
    lr_paths, hr_paths = (list_images(str(folder), "") for folder in (lr, hr.parent))
    sample = SingleDataset(lr_paths, 128, references=hr_paths)[Place(0, 1)]
    small = Image.open(lr_paths[1])
    assert np.array_equal(sample["lr"], np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC)))
    assert "hr" not in SingleDataset(lr_paths, 128)[Place(0, 1)]
    with pytest.raises(UserError, match=r"--gtroot: one reference named 001\.\* is needed.*there is none"):
        SingleDataset(lr_paths, 128, references=hr_paths[:1])
