"""The evaluation of MotionLlamo: what a model that sees the motion gets, and one that does not."""

import io
import json

import pytest
from rich.console import Console
from tiny_llamo import Oracle, make_model, make_processor

from motionpatches import make_motions
from motionpatches.processing.corpora import to_dataset
from motionpatches.processing.instructions import ClipReader, make_instructions
from motionpatches.training.answering import read_questions
from motionpatches.training.instruction_evaluation import evaluate_instructions, judge_answers, print_instruction_table
from motionpatches.training.results import write_json


CATEGORIES = ["caption", "side", "repetitions", "speed"]


@pytest.fixture(scope="module")
def rows():
    return to_dataset(make_motions(100, seed=3), "made")


@pytest.fixture(scope="module")
def reader(rows):
    return ClipReader(rows)


@pytest.fixture(scope="module")
def questions(rows):
    return make_instructions(rows, num=9, categories=CATEGORIES, seed=1, max_seconds=3.2)


@pytest.fixture(scope="module")
def processor(questions, reader):
    return make_processor(questions, reader)


@pytest.fixture(scope="module")
def oracle(processor, questions, reader):
    return Oracle(processor, questions, reader)


@pytest.fixture(scope="module")
def results(oracle, processor, questions, reader):
    pytest.importorskip("pycocoevalcap")
    return evaluate_instructions(oracle, processor, questions, reader, seed=2)


def without_captions(questions):
    return questions.filter(lambda row: row["category"] != "caption")


def test_who_sees_the_motion_is_right_and_who_does_not_is_not(results, questions):
    found = results["exact_match"]
    assert set(found["categories"]) == {"side", "repetitions", "speed"}  # captions are judged otherwise
    for part in (found["micro"], found["macro"], *found["categories"].values()):
        assert part["exact_match"]["real"] == {"score": 100, "interval": (100, 100)}
        assert part["exact_match"]["zeroed"]["score"] == 0
        assert 0 < part["exact_match"]["majority"]["score"] < 100
        assert part["exact_match"]["shuffled"]["score"] < 100
        assert part["differences"]["real_minus_shuffled"]["interval"][0] > 0
    assert found["micro"]["num"] == sum(part["num"] for part in found["categories"].values()) == 27
    assert results["num"] == len(questions)
    assert results["majority_of"] == "judged questions"
    assert results["repetitions"]["real"]["obo"]["score"] == 100
    assert results["repetitions"]["real"]["mae"]["score"] == 0
    assert results["repetitions"]["zeroed"]["no_number"] == 9
    captions = results["captions"]
    assert captions["num"] == 9
    assert captions["references"] > 1  # all captions of the motion, not the answer alone
    assert captions["scores"]["real"]["bleu4"] == pytest.approx(100, abs=0.1)
    assert captions["scores"]["shuffled"]["bleu4"] < 90
    assert captions["scores"]["zeroed"]["cider"] == 0


def test_answers_stand_beside_their_questions(results, questions):
    assert [one["id"] for one in results["answers"]] == questions["id"][:]
    first = results["answers"][0]
    assert first["question"] == read_questions(questions)[0].text
    assert first["truth"] == read_questions(questions)[0].answer
    assert {"real", "shuffled", "zeroed"} < set(first)


def test_the_majority_answer_is_of_the_training_questions_where_there_are_any(questions, reader):
    judged = without_captions(questions)
    asked = read_questions(judged)
    truth = [question.answer for question in asked]

    def train_question(category, answer):
        messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
        return {"id": "t", "category": category, "messages": messages}

    train = [train_question("side", "both")] * 3 + [train_question("side", "left")]
    train += [train_question("repetitions", "7"), train_question("speed", "Slow.")]
    found = judge_answers(asked, {"real": truth}, reader, train)
    assert found["majority_of"] == "training questions"
    majority = {name: part["majority_answer"] for name, part in found["exact_match"]["categories"].items()}
    assert majority == {"side": "both", "repetitions": "7", "speed": "Slow."}
    both = [question.answer == "both" for question in asked if question.category == "side"]
    assert found["exact_match"]["categories"]["side"]["exact_match"]["majority"]["score"] == 100 * sum(both) / len(both)
    with pytest.raises(ValueError, match="no majority answer of categories speed"):
        judge_answers(asked, {"real": truth}, reader, train[:-1])


def test_one_json_and_one_table(results, tmp_path):
    write_json(tmp_path / "results.json", results)
    assert json.loads((tmp_path / "results.json").read_text())["exact_match"]["micro"]["num"] == 27
    page = io.StringIO()
    print_instruction_table(results, Console(file=page, width=200))
    text = page.getvalue()
    for wanted in ("side", "all questions", "mean of categories", "real − shuffled", "shuffled − majority", "OBO", "CIDEr"):
        assert wanted in text
    row = next(line for line in text.splitlines() if "side" in line).split("│")
    cells = [cell.strip() for cell in row[1:-1]]
    assert cells[:3] == ["side", "9", "100.0 [100.0, 100.0]"]
    assert "most frequent answer of each category, of the judged questions" in text
    few = {"exact_match": results["exact_match"], "majority_of": "training questions"}
    print_instruction_table(few, Console(file=io.StringIO(), width=200))


def test_captions_are_retrieved(questions, reader, oracle, processor, model, request):
    pytest.importorskip("pycocoevalcap")
    captions = questions.filter(lambda row: row["category"] == "caption")
    retriever = model, request.getfixturevalue("processor_of_retriever")
    with pytest.warns(UserWarning, match="do not fill a batch"):
        found = evaluate_instructions(oracle, processor, captions, reader, retriever=retriever, motions=["real"])
    assert "exact_match" not in found
    scores = found["captions"]["scores"]
    assert set(scores) == {"real", "majority", "truth"}
    assert scores["real"]["r_precision"] == scores["truth"]["r_precision"]
    assert scores["majority"]["r_precision"]["top1"] == pytest.approx(scores["truth"]["r_precision"]["chance"]["top1"])
    page = io.StringIO()
    print_instruction_table(found, Console(file=page, width=200))
    assert "R-precision top1 of 9" in page.getvalue()


@pytest.fixture
def processor_of_retriever(motion_processor, tokenizer):
    from motionpatches import MotionTextProcessor

    return MotionTextProcessor(motion_processor, tokenizer)


@pytest.mark.filterwarnings("ignore:.*did not end")
def test_a_model_of_random_weights_is_judged(questions, reader, processor):
    judged = without_captions(questions)
    found = evaluate_instructions(make_model(processor), processor, judged, reader, max_new_tokens=3)
    assert set(found) == {"num", "majority_of", "exact_match", "repetitions", "answers"}
    assert found["exact_match"]["micro"]["exact_match"]["real"]["score"] < 50


def test_what_cannot_be_judged_is_found_before_any_answer(questions, rows, reader, processor, model, processor_of_retriever):
    oracle = Oracle(processor, questions, reader)
    judged = without_captions(questions)

    def refused(match, instructions=judged, of=reader, **options):
        with pytest.raises(ValueError, match=match):
            evaluate_instructions(oracle, processor, instructions, of, **options)
        assert not oracle.shown

    refused(r"motions=\['shuffled'\]: expected 'real' and perhaps others", motions=["shuffled"])
    refused("expected 'real' and perhaps others of real, shuffled, zeroed", motions=["real", "noise"])
    refused("refer to motions that the data does not have", of=ClipReader(rows.select(range(2))))
    refused("there are no questions", instructions=[])
    refused("1 of 1 questions of category 'side' .* add questions about other motions", instructions=[judged[0]])
    refused("no majority answer of categories side", train_instructions=judged.filter(lambda row: row["category"] != "side"))
    uncounted = [{**row, "messages": [row["messages"][0], {"role": "assistant", "content": "often"}]} for row in judged]
    refused("9 of 9 true answers about repetitions are no number", instructions=uncounted)
    pytest.importorskip("pycocoevalcap")
    caption = questions.filter(lambda row: row["category"] == "caption")[0]
    several = {**caption, "id": "two", "messages": [caption["messages"][0], *caption["messages"]]}
    refused(
        "1 of 1 questions for captions have not one motion each, the first 'two'",
        instructions=[several],
        motions=["real"],
        retriever=(model, processor_of_retriever),
    )
    with pytest.raises(ValueError, match=r"2 answers \(real\) to 27 questions"):
        judge_answers(read_questions(judged), {"real": ["a", "b"]}, reader)
