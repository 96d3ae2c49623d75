"""`generate` of MotionLlamo: every way of transformers to decode either works as it does for a text model, or says why not."""

from functools import partial
from threading import Thread

import pytest
import torch
from conftest import smpl_motion
from test_modeling_motion_llamo import TWO_ROWS, ask, chat_tokenizer, inputs_of, made, motion_processor  # noqa: F401
from transformers import (
    DynamicCache,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    StaticCache,
    StoppingCriteria,
    TextIteratorStreamer,
)
from transformers.generation.streamers import BaseStreamer

from motionpatches.processing.processing_motion_llamo import MOTION_TOKEN


KINDS = ["projector", "cross_talker"]
GREEDY = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}


@pytest.fixture(params=KINDS)
def parts(request, chat_tokenizer, motion_processor):  # noqa: F811
    """A model whose answers differ, with a video tower, and its processor."""
    model, processor = made(chat_tokenizer, motion_processor, request.param, "frame", video=True)
    torch.nn.init.normal_(model.lm_head.weight)
    if request.param == "cross_talker":  # so that the question's text changes too
        torch.nn.init.normal_(model.model.fusion.question_out.weight, std=0.1)
    return model, processor


def asked(processor, *conversations):
    return inputs_of(processor, list(conversations), add_generation_prompt=True)


def new_tokens(batch, found):
    return found[:, batch["input_ids"].shape[1] :]


def video(seed):
    return torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_the_first_answer_token_is_the_best_of_the_forward_pass(parts):
    model, processor = parts
    batch = asked(processor, *TWO_ROWS)
    with torch.no_grad():
        scores = model(**batch, logits_to_keep=1).logits[:, 0]
    scores[:, [model.config.motion_token_id, model.config.video_token_id]] = float("-inf")
    assert torch.equal(new_tokens(batch, model.generate(**batch, **GREEDY))[:, 0], scores.argmax(dim=-1))


@pytest.mark.parametrize("way", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_left_padding_and_neighbours_change_nothing(parts, way):
    model, processor = parts
    rows = [
        TWO_ROWS[0],
        [{"role": "user", "content": "yes or no?"}],
        TWO_ROWS[1],
        ask(smpl_motion(1, 40), videos=[video(0)]),
    ]
    each = way.get("num_return_sequences", 1)
    batch = asked(processor, *rows)
    together = new_tokens(batch, model.generate(**batch, **GREEDY, **way))
    for number, row in enumerate(rows):
        single = asked(processor, row)
        alone = new_tokens(single, model.generate(**single, **GREEDY, **way))
        assert torch.equal(together[number * each : (number + 1) * each], alone)


@pytest.mark.parametrize("way", [{}, {"num_beams": 2}, {"num_beams": 2, "do_sample": True}, {"do_sample": True}])
def test_a_cache_changes_no_answer(parts, way):
    model, processor = parts
    batch = asked(processor, *TWO_ROWS)
    found = []
    for settings in ({"use_cache": True}, {"use_cache": False}, {"cache_implementation": "static"}):
        torch.manual_seed(0)
        found.append(model.generate(**batch, **{**GREEDY, **way}, **settings))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_samples_are_as_many_as_asked_for_and_of_their_row(parts):
    model, processor = parts
    batch = asked(processor, *TWO_ROWS)
    settings = {**GREEDY, "do_sample": True, "num_return_sequences": 3}
    torch.manual_seed(0)
    found = model.generate(**batch, **settings)
    assert len(found) == 6
    assert torch.equal(found[:, : batch["input_ids"].shape[1]], batch["input_ids"].repeat_interleave(3, dim=0))
    coldest = model.generate(**batch, **settings, temperature=1e-4)
    greedy = model.generate(**batch, **GREEDY)
    assert torch.equal(coldest, greedy.repeat_interleave(3, dim=0))


def test_the_placeholders_are_never_said(parts):
    model, processor = parts
    placeholders = [model.config.motion_token_id, model.config.video_token_id]
    with torch.no_grad():
        model.lm_head.weight[placeholders] = model.lm_head.weight.mean(dim=0) + 10 * torch.randn(2, 32)
    batch = asked(processor, *TWO_ROWS)
    assert not torch.isin(new_tokens(batch, model.generate(**batch, **GREEDY)), torch.tensor(placeholders)).any()


@pytest.mark.parametrize("way", [{}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}])
def test_embeddings_in_place_of_ids(parts, way):
    model, processor = parts
    batch = asked(processor, TWO_ROWS[1], ask(smpl_motion(1, 40), videos=[video(0)]))
    settings = {**GREEDY, **way}
    torch.manual_seed(0)
    expected = new_tokens(batch, model.generate(**batch, **settings))
    inputs = dict(batch)
    embeds = model.get_input_embeddings()(inputs.pop("input_ids"))
    torch.manual_seed(0)
    assert torch.equal(model.generate(inputs_embeds=embeds, **inputs, **settings), expected)


@pytest.mark.parametrize("cache_class", [DynamicCache, partial(StaticCache, max_cache_len=256)], ids=["dynamic", "static"])
def test_a_cache_of_earlier_turns_is_gone_on_with(parts, cache_class):
    model, processor = parts
    settings = {**GREEDY, "return_dict_in_generate": True}
    cache = cache_class(config=model.config.get_text_config())
    conversation, encoded = [], []
    model.model.motion_tower.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    turns = [
        ask(smpl_motion(0, 20)),
        [{"role": "user", "content": "yes or no?"}],
        ask(smpl_motion(1, 60), smpl_motion(2, 33), question="what does the figure do first?"),
    ]
    for turn, fresh in zip(turns, [1, 0, 2], strict=True):
        conversation += turn
        batch = asked(processor, conversation)
        expected = model.generate(**batch, **GREEDY)
        encoded.clear()
        found = model.generate(**batch, **settings, past_key_values=cache).sequences
        assert torch.equal(found, expected)
        assert sum(encoded) == fresh  # what is in the cache is not encoded again
        conversation += [{"role": "assistant", "content": said(processor, batch, found)}]


def said(processor, batch, found):
    """An answer whose text has the tokens that were generated, as the cache holds them."""
    return processor.tokenizer.decode(new_tokens(batch, found)[0])


def test_embeddings_need_no_cache_either(parts):
    model, processor = parts
    batch = asked(processor, TWO_ROWS[1])
    inputs = dict(batch)
    embeds = model.get_input_embeddings()(inputs.pop("input_ids"))
    found = model.generate(inputs_embeds=embeds, **inputs, **GREEDY, use_cache=False)
    assert torch.equal(found, new_tokens(batch, model.generate(**batch, **GREEDY)))


@pytest.mark.parametrize("helper", ["the prompt", "itself", "another"])
def test_assisted_decoding_changes_no_answer(parts, chat_tokenizer, motion_processor, helper):  # noqa: F811
    model, processor = parts
    batch = asked(processor, TWO_ROWS[1])
    expected = model.generate(**batch, **GREEDY)
    if helper == "the prompt":
        settings = {"prompt_lookup_num_tokens": 3}
    else:
        other, _ = made(chat_tokenizer, motion_processor, model.config.fusion, "frame", video=True)
        settings = {"assistant_model": model if helper == "itself" else other}
    assert torch.equal(model.generate(**batch, **GREEDY, **settings), expected)


def test_a_text_model_cannot_assist(parts):
    model, processor = parts
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    helper = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=len(processor.tokenizer), pad_token_id=0))
    with pytest.raises(ValueError, match=r"not used by the model: .*'motion_values'"):
        model.generate(**asked(processor, TWO_ROWS[0]), **GREEDY, assistant_model=helper)


class Collected(BaseStreamer):
    """What was streamed, and whether it ended."""

    def __init__(self):
        self.pieces, self.is_ended = [], False

    def put(self, value):
        self.pieces.append(value.reshape(-1))

    def end(self):
        self.is_ended = True


@pytest.mark.parametrize("way", [{}, {"prompt_lookup_num_tokens": 2}])
def test_what_is_streamed_is_what_is_returned(parts, way):
    model, processor = parts
    batch, streamer = asked(processor, TWO_ROWS[1]), Collected()
    found = model.generate(**batch, **GREEDY, **way, streamer=streamer)
    assert streamer.is_ended
    assert torch.equal(streamer.pieces[0], batch["input_ids"][0])
    assert torch.equal(torch.cat(streamer.pieces), found[0])


def test_text_is_streamed_to_another_thread(parts):
    model, processor = parts
    batch = asked(processor, TWO_ROWS[1])
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=60)
    expected = processor.tokenizer.decode(new_tokens(batch, model.generate(**batch, **GREEDY))[0], skip_special_tokens=True)
    thread = Thread(target=model.generate, kwargs={**batch, **GREEDY, "streamer": streamer})
    thread.start()
    assert "".join(streamer) == expected
    thread.join()


def test_an_answer_ends_where_it_is_told_to(parts):
    model, processor = parts
    batch = asked(processor, *TWO_ROWS)
    free = new_tokens(batch, model.generate(**batch, **GREEDY))
    for row, other in ((0, 1), (1, 0)):
        end = int(free[row, 1])
        found = new_tokens(batch, model.generate(**batch, **{**GREEDY, "eos_token_id": end}))
        length = free[row].tolist().index(end) + 1
        assert found[row, :length].tolist() == free[row, :length].tolist()
        assert (found[row, length:] == processor.tokenizer.pad_token_id).all()
        longer = free[other].tolist()
        kept = longer[: longer.index(end) + 1] if end in longer else longer
        assert found[other, : len(kept)].tolist() == kept[: found.shape[1]]
    shortest = {**GREEDY, "eos_token_id": int(free[0, 0]), "min_new_tokens": 4}
    assert new_tokens(batch, model.generate(**batch, **shortest)).shape[1] >= 4


def test_stop_strings_and_criteria(parts):
    model, processor = parts
    batch = asked(processor, TWO_ROWS[0])
    free = new_tokens(batch, model.generate(**batch, **GREEDY))[0]
    words = [processor.tokenizer.decode(token) for token in free]
    stop = next(number for number, word in enumerate(words) if number and word.isalpha() and word not in words[:number])
    found = model.generate(**batch, **GREEDY, stop_strings=[words[stop]], tokenizer=processor.tokenizer)
    assert new_tokens(batch, found)[0].tolist() == free[: stop + 1].tolist()

    class After(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.full((len(input_ids),), input_ids.shape[1] >= batch["input_ids"].shape[1] + 3)

    assert new_tokens(batch, model.generate(**batch, **GREEDY, stopping_criteria=[After()])).shape == (1, 3)


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
@pytest.mark.parametrize("fusion", KINDS)
def test_other_language_models_decode_alike(chat_tokenizer, motion_processor, fusion, kind):  # noqa: F811
    size = {"vocab_size": len(chat_tokenizer), "pad_token_id": 0}
    text = {
        "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, **size),
        "qwen2": Qwen2Config(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, **size
        ),
    }[kind]
    model, processor = made(chat_tokenizer, motion_processor, fusion, text=text)
    torch.nn.init.normal_(model.lm_head.weight)
    batch = asked(processor, *TWO_ROWS)
    cached = new_tokens(batch, model.generate(**batch, **GREEDY))
    assert torch.equal(cached, new_tokens(batch, model.generate(**batch, **GREEDY, use_cache=False)))
    for number, row in enumerate(TWO_ROWS):
        single = asked(processor, row)
        assert torch.equal(new_tokens(single, model.generate(**single, **GREEDY))[0], cached[number])


def test_what_generation_returns_besides(parts):
    model, processor = parts
    model.set_attn_implementation("eager")
    batch = asked(processor, *TWO_ROWS)
    length = batch["input_ids"].shape[1]
    kept = {"output_attentions": True, "output_hidden_states": True, "output_scores": True, "output_logits": True}
    found = model.generate(**batch, **GREEDY, **kept, return_dict_in_generate=True)
    steps = GREEDY["max_new_tokens"]
    assert [len(part) for part in (found.scores, found.logits, found.attentions, found.hidden_states)] == [steps] * 4
    layers = model.config.text_config.num_hidden_layers
    for step in range(steps):
        queries = length if step == 0 else 1
        assert [tuple(a.shape) for a in found.attentions[step]] == [(2, 4, queries, length + step)] * layers
        assert [tuple(h.shape) for h in found.hidden_states[step]] == [(2, queries, 32)] * (layers + 1)
    assert torch.equal(torch.stack(found.scores).argmax(-1).T, new_tokens(batch, found.sequences))
    again = model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
    assert again.isfinite().all()


def test_labels_that_are_shifted_already_are_taken_as_they_are(parts):
    model, processor = parts
    batch = asked(processor, TWO_ROWS[0])
    labels = torch.randint(6, 50, batch["input_ids"].shape)
    shifted = torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
    with torch.no_grad():
        one = model(**batch, labels=labels).loss
        same = model(**batch, labels=labels.flip(1), shift_labels=shifted).loss
        other = model(**batch, labels=labels, shift_labels=shifted.flip(1)).loss
    torch.testing.assert_close(one, same)
    assert abs(one - other) > 1e-3


def test_a_prompt_of_plain_text_is_gone_on_with(parts):
    model, processor = parts
    inputs = processor(text=[f"what is {MOTION_TOKEN}", "a person"], motions=[smpl_motion(0, 40)], return_tensors="pt",
                       padding=True, padding_side="left", add_special_tokens=False)  # fmt: skip
    found = new_tokens(inputs, model.generate(**inputs, **GREEDY))
    for number, (text, motions) in enumerate([(f"what is {MOTION_TOKEN}", [smpl_motion(0, 40)]), ("a person", None)]):
        alone = processor(text=text, motions=motions, return_tensors="pt", add_special_tokens=False)
        assert torch.equal(new_tokens(alone, model.generate(**alone, **GREEDY))[0], found[number])
