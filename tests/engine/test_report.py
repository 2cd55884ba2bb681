# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The report of a run."""


def test_curves_of_a_run_that_went_on_with_another_loss(tmp_path):
    from engine.report import write_curves
    records = [{"kind": "train", "step": 1, "Loss_Pix": 1.0}, {"kind": "train", "step": 2, "Loss_G": 2.0}]
    write_curves(records, "bicubic", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size


def test_curves_of_a_run_that_called_the_input_bicubic_before(tmp_path):
    from engine.report import write_curves
    names = {"kind": "val", "protocol": "sparnet", "psnr": 24.0}
    before, after = names | {"step": 1, "bicubic_psnr": 23.0}, names | {"step": 2, "input_psnr": 23.0}
    for records in ([before], [before, after], [after | {"input_psnr": None}]):  # null: the input is the true face
        (tmp_path / "curves.png").unlink(missing_ok=True)
        write_curves(records, "bicubic", tmp_path / "curves.png")
        assert (tmp_path / "curves.png").stat().st_size


def test_the_scale_of_the_losses(tmp_path, monkeypatch):
    """On a logarithmic scale, -30 to -20 dB would have no number at the axis."""
    from engine import report
    scales = []
    monkeypatch.setattr(report.pyplot, "close", lambda figure: scales.append(figure.axes[0].get_yscale()))
    for values in ((2.0, 0.1), (-30.0, -20.0), (0.5, -0.5), ()):
        records = [{"kind": "train", "step": step, "Loss_Pix": value} for step, value in enumerate(values, 1)]
        report.write_curves(records, "bicubic", tmp_path / "curves.png")
    assert scales == ["log", "linear", "symlog", "log"]
