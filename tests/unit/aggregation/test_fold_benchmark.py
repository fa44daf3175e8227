"""The benchmark runs, tiny."""

import json


def test_it_ends_with_one_line_of_json(monkeypatch, capsys, tmp_path):
    from benchmarks import fold

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fold", "--updates", "2", "--megabytes", "0.1"])
    fold.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "fold"
    assert result["figures"]["fp32_gb_per_s"] > 0
    assert set(result["targets"]) <= set(result["figures"])
    assert result["met"] == (not result["missed"])
    assert result["figures"]["fp32_peak_mb"] > 0
