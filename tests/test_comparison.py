"""Two results files side by side."""

import json

import numpy as np
import pytest
from conftest import run_command

from motionpatches.training.comparison import compare
from motionpatches.training.metrics import chance_level, retrieval_counts, summarize_counts


def evaluation(tmp_path, name, noise, seed=0, num=120, queries=True, order=None, **replaced):
    """A results file as `evaluate` writes it, of embeddings that are better with less noise."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(num, 8))
    motions = texts + noise * rng.normal(size=(num, 8))
    order = np.arange(num) if order is None else order
    counts = {way: values[:, order] for way, values in retrieval_counts(texts, motions).items()}
    result = {
        "num": num,
        "distinct_captions": num,
        "statistics": {},
        "retrieval": {"strict": {way: summarize_counts(values) for way, values in counts.items()}},
        "chance": {"strict": chance_level(num)},
    }
    content = {
        "task": "evaluate",
        "data": f"made ({num} motions)",
        "split": "test",
        "galleries": {"all": "abc"},
        "results": {"all": result},
        "weights": name,
    }
    if queries:
        ids = [f"motion {row}" for row in order]
        content["queries"] = {"all": {"strict": {"ids": ids, **{way: values.tolist() for way, values in counts.items()}}}}
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps({**content, **replaced}))
    return file


def test_a_better_model_is_better_by_an_interval_above_zero(tmp_path):
    files = evaluation(tmp_path, "a", 1.2), evaluation(tmp_path, "b", 0.4)
    found = compare(*files)["results"]["all"]["retrieval"]["strict"]
    for way in ("t2m", "m2t"):
        recall = found[way]["R@1"]
        assert recall["difference"] == pytest.approx(recall["second"] - recall["first"])
        low, high = recall["interval"]
        assert 0 < low < recall["difference"] < high
        assert recall["chance"] == pytest.approx(100 / 120)
        assert found[way]["MeanR"]["interval"][1] < 0
        low, high = found[way]["MedR"]["interval"]
        assert low <= found[way]["MedR"]["difference"] <= high
    backwards = compare(*files[::-1])["results"]["all"]["retrieval"]["strict"]["t2m"]["R@1"]
    assert backwards["interval"] == pytest.approx([-high for high in reversed(found["t2m"]["R@1"]["interval"])], abs=2)


def test_queries_are_paired_by_their_ids(tmp_path):
    order = np.random.default_rng(5).permutation(120)
    files = evaluation(tmp_path, "a", 0.8), evaluation(tmp_path, "b", 0.8, order=order)
    recall = compare(*files)["results"]["all"]["retrieval"]["strict"]["t2m"]["R@1"]
    assert (recall["difference"], recall["interval"]) == (pytest.approx(0), (0, 0))


def test_without_queries_there_are_numbers_and_a_reason(tmp_path):
    files = evaluation(tmp_path, "a", 1.0), evaluation(tmp_path, "b", 0.5, queries=False)
    found = compare(*files)
    assert found["results"]["all"]["retrieval"]["strict"]["t2m"]["R@1"]["interval"] is None
    assert "b.json does not say how each query fared" in found["no_interval"]["all"]
    result = run_command("compare", *files)
    assert result.exit_code == 0, result.output
    assert "--save-queries" in result.output
    assert "[" not in result.output.split("B − A [95% interval]")[-1].split("no intervals")[0]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"data": "other (120 motions)"}, "other data: made .120 motions. and other .120 motions."),
        ({"split": "validation"}, "other splits: test and validation"),
        ({"galleries": {"all": "def"}}, "ids, captions or labels differ"),
        ({"num": 130, "data": "made (120 motions)"}, "gallery 'all' differs: 120 motions.* and 130 motions"),
    ],
)
def test_other_data_is_refused(tmp_path, replaced, message):
    with pytest.raises(ValueError, match=rf"a.json and b.json do not compare: .*{message}"):
        compare(evaluation(tmp_path, "a", 1.0), evaluation(tmp_path, "b", 1.0, **replaced))


def test_other_protocols_galleries_and_questions_are_refused(tmp_path):
    first = evaluation(tmp_path, "a", 1.0)
    content = json.loads(first.read_text())

    def changed(change):
        other = json.loads(first.read_text())
        change(other["results"])
        (tmp_path / "b.json").write_text(json.dumps(other))
        return tmp_path / "b.json"

    def add_protocol(results):
        results["all"]["retrieval"]["small"] = results["all"]["retrieval"]["strict"]

    asked = {"template": "A person {}.", "num_classes": 3, "num": 120, "top1": 50.0, "chance": {"top1": 33.3}}
    with pytest.raises(ValueError, match=r"other protocols: \['strict'\] and \['small', 'strict'\]; .* same --protocol"):
        compare(first, changed(add_protocol))
    with pytest.raises(ValueError, match="other galleries"):
        compare(first, changed(lambda results: results.update(more=content["results"]["all"])))
    with pytest.raises(ValueError, match=r"zero-shot classification asked otherwise: None and “A person \{\}\.”, 3 classes"):
        compare(first, changed(lambda results: results["all"].update(zero_shot=asked)))
    with pytest.raises(ValueError, match="results of a classifier"):
        compare(first, changed(lambda results: results["all"].pop("retrieval")))


def test_files_that_are_no_evaluations_are_named(tmp_path):
    good = evaluation(tmp_path, "a", 1.0)
    with pytest.raises(FileNotFoundError, match=r"no results file .*b.json"):
        compare(good, tmp_path / "b.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON file"):
        compare(good, tmp_path / "b.json")
    (tmp_path / "b.json").write_text('{"task": "train"}')
    with pytest.raises(ValueError, match="its task is 'train'"):
        compare(good, tmp_path / "b.json")


@pytest.mark.filterwarnings("ignore:.* do not fill:UserWarning")
def test_evaluate_then_compare_as_a_person_types_it(trained_run, data_folder, tmp_path):
    files = []
    for checkpoint in ("best", "last"):
        files.append(tmp_path / f"{checkpoint}.json")
        result = run_command(
            "evaluate", trained_run / checkpoint, "--data", data_folder, "--output", files[-1], "--save-queries",
            "--protocol", "small", "--protocol", "label", "--intervals",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    assert "95% intervals" in result.output
    written = json.loads(files[0].read_text())
    assert set(written["queries"]) == set(written["results"]) == set(written["galleries"])
    assert "queries" not in written["results"]["all"]
    assert str(tmp_path) not in files[0].read_text()
    result = run_command("compare", *files, "--output", tmp_path / "compared.json")
    assert result.exit_code == 0, result.output
    assert "A: best.json" in result.output
    assert "no intervals of small" in result.output
    compared = json.loads((tmp_path / "compared.json").read_text())
    assert compared["results"]["all"]["zero_shot"]["top1"]["interval"] is not None
    low, high = compared["results"]["smpl22"]["retrieval"]["caption_equal"]["m2t"]["R@5"]["interval"]
    assert low <= high
    assert compared["results"]["all"]["retrieval"]["small"]["t2m"]["R@1"]["interval"] is None


def test_queries_need_a_file(trained_run, data_folder):
    result = run_command("evaluate", trained_run / "best", "--data", data_folder, "--save-queries")
    assert result.exit_code == 1
    assert "--save-queries writes into the file of --output" in result.output
