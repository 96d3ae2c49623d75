"""MotionLlamo: what enters the language model, what must not, and that generation agrees with itself."""

import pytest
import torch
from conftest import CAPTIONS, smpl_motion, tiny_config
from transformers import (
    AutoModel,
    AutoModelForMultimodalLM,
    AutoProcessor,
    CLIPVisionConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
)
from transformers.models.llava_onevision import LlavaOnevisionVideoProcessor

from motionpatches import (
    MotionLlamoConfig,
    MotionLlamoForConditionalGeneration,
    MotionLlamoModel,
    MotionLlamoProcessor,
    MotionPatchProcessor,
)
from motionpatches.processing.processing_motion_llamo import MOTION_TOKEN, ROLE_TOKENS, VIDEO_TOKEN
from motionpatches.training.builder import train_tokenizer


FUSIONS = [("projector", "window"), ("cross_talker", "patch"), ("cross_talker", "window"), ("cross_talker", "frame")]
K = 4


@pytest.fixture(scope="module")
def chat_tokenizer():
    texts = [*CAPTIONS, "what does the person do? yes no first last", "abcdef"]  # which transformers' stop strings need
    tokenizer = train_tokenizer(texts * 20, vocab_size=200)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*ROLE_TOKENS, MOTION_TOKEN, VIDEO_TOKEN], "eos_token": "[SEP]"}
    )
    tokenizer.padding_side, tokenizer.model_max_length = "left", 256
    tokenizer.init_kwargs["padding_side"] = "left"  # what is saved
    return tokenizer


@pytest.fixture(scope="module")
def motion_processor():
    return MotionPatchProcessor(patch_size=8, max_frames=64, padding="longest").fit(
        [smpl_motion(seed, 60) for seed in range(3)]
    )


def made(chat_tokenizer, motion_processor, fusion="projector", unit="window", video=False, text=None, **fields):
    """A model and its processor."""
    choice = {"fusion": fusion, "selection_unit": unit, "num_selected": K}
    settings = None
    if video:
        settings = LlavaOnevisionVideoProcessor(size={"height": 16, "width": 16}, do_sample_frames=False)
        vision = CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
        )
        fields |= {"video_config": vision}
    processor = MotionLlamoProcessor(motion_processor, chat_tokenizer, video_settings=settings, **choice)
    text = text or LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=len(chat_tokenizer), pad_token_id=0, eos_token_id=chat_tokenizer.eos_token_id,
    )  # fmt: skip
    config = MotionLlamoConfig(
        motion_config=tiny_config(chat_tokenizer),
        text_config=text,
        motion_token_id=chat_tokenizer.convert_tokens_to_ids(MOTION_TOKEN),
        video_token_id=chat_tokenizer.convert_tokens_to_ids(VIDEO_TOKEN),
        num_segments=3,
        **choice,
        **fields,
    )
    torch.manual_seed(0)
    return MotionLlamoForConditionalGeneration(config).eval(), processor


def ask(*motions, question="what does the person do?", answer=None, videos=()):
    parts = [{"type": "motion", "motion": motion} for motion in motions]
    parts += [{"type": "video", "video": video} for video in videos]
    conversation = [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]
    return conversation if answer is None else [*conversation, {"role": "assistant", "content": answer}]


def inputs_of(processor, conversations, **kwargs):
    return processor.apply_chat_template(conversations, tokenize=True, return_dict=True, return_tensors="pt", **kwargs)


TWO_ROWS = [ask(smpl_motion(0, 20)), ask(smpl_motion(1, 60), smpl_motion(2, 33), question="what does the figure do first?")]


@pytest.mark.parametrize(("fusion", "unit"), FUSIONS)
def test_a_cache_and_padding_change_no_answer(chat_tokenizer, motion_processor, fusion, unit):
    model, processor = made(chat_tokenizer, motion_processor, fusion, unit)
    batch = inputs_of(processor, TWO_ROWS, add_generation_prompt=True)
    settings = {"max_new_tokens": 6, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    with torch.no_grad():
        cached, plain = (model.generate(**batch, **settings, use_cache=use) for use in (True, False))
        torch.testing.assert_close(torch.stack(cached.logits), torch.stack(plain.logits), atol=1e-5, rtol=0)
        torch.testing.assert_close(model(**batch).logits[:, -1], cached.logits[0], atol=1e-5, rtol=0)  # as in training
        for row, conversation in enumerate(TWO_ROWS):
            alone = model.generate(**inputs_of(processor, [conversation], add_generation_prompt=True), **settings)
            for step, scores in enumerate(alone.logits):
                torch.testing.assert_close(scores[0], cached.logits[step][row], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("fusion", "unit"), FUSIONS)
@pytest.mark.parametrize("search", [{"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_beams_keep_the_motions_of_their_row(chat_tokenizer, motion_processor, fusion, unit, search):
    model, processor = made(chat_tokenizer, motion_processor, fusion, unit)
    settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, **search}
    batch = inputs_of(processor, TWO_ROWS, add_generation_prompt=True)
    together = model.generate(**batch, **settings)[:, batch["input_ids"].shape[1] :]
    each = search.get("num_return_sequences", 1)
    for row, conversation in enumerate(TWO_ROWS):
        single = inputs_of(processor, [conversation], add_generation_prompt=True)
        alone = model.generate(**single, **settings)[:, single["input_ids"].shape[1] :]
        assert torch.equal(together[row * each : (row + 1) * each], alone)


def test_samples_are_drawn_for_each_row(chat_tokenizer, motion_processor):
    model, processor = made(chat_tokenizer, motion_processor)
    batch = inputs_of(processor, TWO_ROWS, add_generation_prompt=True)
    torch.manual_seed(0)
    found = model.generate(**batch, max_new_tokens=4, do_sample=True, num_return_sequences=3, eos_token_id=None)
    assert found.shape == (6, batch["input_ids"].shape[1] + 4)
    assert len({tuple(row.tolist()) for row in found}) > 2


@pytest.mark.parametrize(("fusion", "unit"), FUSIONS)
def test_the_motion_decides_and_so_does_the_question(chat_tokenizer, motion_processor, fusion, unit):
    model, processor = made(chat_tokenizer, motion_processor, fusion, unit)
    with torch.no_grad():
        one, other = (model(**inputs_of(processor, [ask(smpl_motion(seed, 60))])).logits[0, -1] for seed in (0, 1))
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("unit", ["patch", "window", "frame"])
def test_the_answer_does_not_leak_into_the_selection(chat_tokenizer, motion_processor, unit):
    model, processor = made(chat_tokenizer, motion_processor, "cross_talker", unit)

    def states(question, answer):
        batch = inputs_of(processor, [ask(smpl_motion(0, 60), question=question, answer=answer)])
        with torch.no_grad():
            return model(**batch).motion_hidden_states

    first = states("what is it?", "a person walks forward")
    assert torch.equal(first, states("what is it?", "someone jumps twice"))
    assert not torch.equal(first, states("what does the person do first?", "a person walks forward"))


def test_each_turn_asks_for_its_own_motion(chat_tokenizer, motion_processor):
    model, processor = made(chat_tokenizer, motion_processor, "cross_talker")
    model.model.fusion.question_out.weight.data.normal_(std=0.1)

    def states(second):
        conversation = [
            *ask(smpl_motion(0, 60), question="what is it?", answer="someone jumps"),
            *ask(smpl_motion(1, 60), question=second),
        ]
        with torch.no_grad():
            return model(**inputs_of(processor, [conversation])).motion_hidden_states

    one, other = states("what does the person do?"), states("yes or no?")
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize("unit", ["patch", "window", "frame"])
def test_selection_learns(chat_tokenizer, motion_processor, unit):
    model, processor = made(chat_tokenizer, motion_processor, "cross_talker", unit)
    batch = inputs_of(processor, [ask(smpl_motion(0, 64), answer="someone jumps")], return_assistant_tokens_mask=True)
    labels = batch["input_ids"].masked_fill(batch.pop("assistant_masks") == 0, -100)
    model(**batch, labels=labels).loss.backward()
    fusion = model.model.fusion
    for module in (fusion.ask, fusion.answer, fusion.question_in):
        assert module.weight.grad.abs().max() > 0
    assert fusion.log_reach.grad.abs().max() > 0
    assert model.model.motion_tower.motion_model.embeddings.patch_embeddings.projection.weight.grad.abs().max() > 0


def test_what_the_question_attends_to_is_what_is_kept_in_the_order_of_time(chat_tokenizer, motion_processor):
    model, _ = made(chat_tokenizer, motion_processor, "cross_talker")
    fusion = model.model.fusion
    torch.manual_seed(0)
    units, mask = torch.randn(1, 9, 32), torch.tensor([[True] * 8 + [False]])
    wanted = [1, 2, 5, 7]
    with torch.no_grad():
        fusion.ask.weight.copy_(torch.eye(32)), fusion.ask.bias.zero_()
        fusion.answer.weight.copy_(torch.eye(32)), fusion.answer.bias.zero_()
    asked = units[:, [*wanted, 8]].sum(dim=1, keepdim=True) * 3
    kept, is_real, chosen = fusion._select(units, mask, asked, torch.tensor([[True]]))
    assert chosen.tolist() == [wanted]
    torch.testing.assert_close(kept, units[:, wanted])
    assert is_real.all()


def test_a_motion_with_fewer_units_leaves_placeholders_unseen(chat_tokenizer, motion_processor):
    model, processor = made(chat_tokenizer, motion_processor, "cross_talker")
    batch = inputs_of(processor, [ask(smpl_motion(0, 20))])  # three windows for four placeholders
    is_motion = batch["input_ids"] == model.config.motion_token_id
    assert int(is_motion.sum()) == K
    assert int(batch["attention_mask"][is_motion].sum()) == 3
    with torch.no_grad():
        seen = model(**batch)
        assert not seen.motion_hidden_states[0, -1].any()
        hidden = model.model.fusion.out[-1].bias
        hidden.data += 1.0
        assert not model(**batch).motion_hidden_states[0, -1].any()


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_tied_heads_stay_tied_when_saved(chat_tokenizer, motion_processor, tmp_path, is_tied, kind):
    size = len(chat_tokenizer)
    text = {
        "llama": LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=size,
            tie_word_embeddings=is_tied,
        ),
        "gpt2": GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=size, tie_word_embeddings=is_tied),
    }[kind]  # fmt: skip
    model, processor = made(chat_tokenizer, motion_processor, "cross_talker", text=text)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == is_tied
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = AutoModelForMultimodalLM.from_pretrained(tmp_path).eval()
    assert (again.lm_head.weight is again.get_input_embeddings().weight) == is_tied
    same = AutoProcessor.from_pretrained(tmp_path)
    assert type(same) is MotionLlamoProcessor
    with torch.no_grad():
        expected, found = (m(**inputs_of(p, TWO_ROWS)).logits for m, p in ((model, processor), (again, same)))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert type(AutoModel.from_pretrained(tmp_path)) is MotionLlamoModel


@pytest.mark.parametrize("fusion", ["projector", "cross_talker"])
def test_motion_and_video_together_or_alone(chat_tokenizer, motion_processor, tmp_path, fusion):
    model, processor = made(chat_tokenizer, motion_processor, fusion, video=True)
    torch.manual_seed(1)
    first, second = (torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8) for _ in range(2))

    def logits(*motions, videos=()):
        with torch.no_grad():
            return model(**inputs_of(processor, [ask(*motions, videos=videos)])).logits[0, -1]

    motion = smpl_motion(0, 40)
    both = logits(motion, videos=[first])
    assert (both - logits(motion, videos=[second])).abs().max() > 1e-5
    assert (both - logits(smpl_motion(1, 40), videos=[first])).abs().max() > 1e-5
    assert (logits(videos=[first]) - logits(videos=[second])).abs().max() > 1e-5
    assert logits(motion).isfinite().all()
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    one, other = (inputs_of(p, [ask(motion, videos=[first])])["pixel_values_videos"] for p in (processor, again))
    torch.testing.assert_close(one, other)


def test_motion_sees_the_video_of_its_own_turn_alone(chat_tokenizer, motion_processor):
    model, processor = made(chat_tokenizer, motion_processor, "cross_talker", video=True)
    first, second = (torch.full((3, 3, 16, 16), value, dtype=torch.uint8) for value in (10, 200))
    motion = smpl_motion(0, 40)

    def states(*rows):
        with torch.no_grad():
            return model(**inputs_of(processor, list(rows))).motion_hidden_states

    alone = states(ask(motion, videos=[first]))
    torch.testing.assert_close(
        alone, states(ask(motion, videos=[first]), ask(motion, videos=[second]))[:1], atol=1e-6, rtol=0
    )
    assert not torch.equal(alone, states(ask(motion, videos=[second])))


def test_errors_come_before_any_forward_pass(chat_tokenizer, motion_processor):
    model, processor = made(chat_tokenizer, motion_processor)
    batch = inputs_of(processor, [ask(smpl_motion(0, 20))])
    with pytest.raises(ValueError, match="the text has 14 motion placeholders, but its 1 motions need 15"):
        model(**{**batch, "input_ids": batch["input_ids"].scatter(1, torch.tensor([[1]]), 3)})
    with pytest.raises(ValueError, match="no video tower"):
        model(**batch, pixel_values_videos=torch.zeros(1, 2, 3, 16, 16))
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="the text has 0 motion placeholders"):
        model(inputs_embeds=torch.zeros(1, 3, 32), motion_values=batch["motion_values"])
    with pytest.raises(ValueError, match=r"text_config \(gemma2\) has final_logit_softcapping"):
        made(chat_tokenizer, motion_processor, text=Gemma2Config(hidden_size=32, num_hidden_layers=1, vocab_size=300))
    with pytest.raises(ValueError, match="no video_token_id"):
        MotionLlamoConfig(video_config=CLIPVisionConfig())
