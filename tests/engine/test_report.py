"""The report of a run."""


def test_curves_of_a_run_that_went_on_with_another_loss(tmp_path):
    from engine.report import write_curves
    records = [{"kind": "train", "step": 1, "Loss_Pix": 1.0}, {"kind": "train", "step": 2, "Loss_G": 2.0}]
    write_curves(records, "bicubic", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size
