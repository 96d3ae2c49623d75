"""Training pairs and their batches: what the model is given."""

import pickle
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from conftest import CAPTIONS, swinging_motion
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data._utils.pin_memory import pin_memory

from motionpatches import MotionPatchProcessor, MotionTextProcessor, make_motions, mirror_caption, mirror_joints
from motionpatches.processing.corpora import to_dataset
from motionpatches.training.augmentation import Augmentation
from motionpatches.training.data import (
    BrokenSampleError,
    Collator,
    MotionDataset,
    MotionTextDataset,
    PairBatch,
    add_label_captions,
    check_motions,
    count_long_captions,
    group_by_length,
    make_loader,
)
from motionpatches.training.recipe import RunArguments
from motionpatches.training.sampling import PairKey


LENGTHS = [40, 12, 60, 33, 80, 9]


def made_rows(lengths=LENGTHS):
    """Motions of these lengths, each with two captions of different length."""
    motions = [
        {
            "id": f"motion_{number}",
            "joints": swinging_motion(num_frames=length, seed=number),
            "skeleton": "smpl22",
            "fps": 20,
            "captions": [CAPTIONS[number % 4] + " again" * number, f"short {number}"],
        }
        for number, length in enumerate(lengths)
    ]
    return to_dataset(motions, "made")


@pytest.fixture(scope="module")
def rows():
    return made_rows()


def items_of(rows, processor, augmentation=None):
    dataset = MotionTextDataset(rows, processor, augmentation)
    return [dataset[PairKey(row, 0, 100 + row, False)] for row in range(len(rows))]


def together(batch, name):
    """A model input of all groups, in the order of the batch, its lengths cut to the shortest."""
    parts = [group[name] for group in batch.groups]
    shortest = min(part.shape[-1] for part in parts)
    return torch.cat([part[..., :shortest] for part in parts])[batch.order.argsort()]


def test_a_mirrored_pair_is_mirrored_in_motion_and_caption(processor):
    rows = to_dataset(make_motions(1, "smpl22", 0, actions=["kick"]), "made")
    dataset = MotionTextDataset(rows, processor)
    plain, mirrored = dataset[PairKey(0, 0, 0, False)], dataset[PairKey(0, 0, 0, True)]
    assert mirrored["caption"] == mirror_caption(plain["caption"])
    twice = mirror_joints(mirrored["motion"].joints, mirrored["motion"].skeleton)
    np.testing.assert_allclose(twice, plain["motion"].joints, atol=1e-5)
    assert np.abs(mirrored["motion"].joints - plain["motion"].joints).max() > 0.1


def test_long_captions_are_counted(processor):
    assert count_long_captions(processor, ["walks", "walks " * 63]) == 1


# Groups of like length.


def cost(groups, lengths):
    return sum(len(group) * max(lengths[item] for item in group) for group in groups)


def cheapest(lengths, num_groups, min_size):
    """The least cost, and the fewest groups that have it, of all ways to cut the sorted lengths."""
    ordered = sorted(lengths)
    found = [(len(ordered) * ordered[-1], 1)]
    for number in range(2, num_groups + 1):
        for inner in combinations(range(1, len(ordered)), number - 1):
            runs = [ordered[first:last] for first, last in pairwise([0, *inner, len(ordered)])]
            if min(map(len, runs)) >= min_size:
                found.append((sum(len(run) * run[-1] for run in runs), number))
    return min(found)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=10), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_groups_pad_least_of_all_ways_to_cut_the_sorted_lengths(lengths, num_groups, min_size):
    groups = group_by_length(lengths, num_groups, min_size)
    assert sorted(item for group in groups for item in group) == list(range(len(lengths)))
    in_order = [lengths[item] for group in groups for item in group]
    assert in_order == sorted(lengths)
    assert len(groups) == 1 or min(map(len, groups)) >= min_size
    assert (cost(groups, lengths), len(groups)) == cheapest(lengths, num_groups, min_size)


def test_groups_of_one_are_left_to_those_who_ask_for_them():
    assert group_by_length([14, 1, 1, 1], 4, min_size=1) == [[1, 2, 3], [0]]
    assert group_by_length([14, 1, 1, 1], 4) == [[1, 2], [3, 0]]


@pytest.mark.parametrize("bad", [([], 2, 2), ([1], 0, 2), ([1], 2, 0)])
def test_impossible_groups(bad):
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        group_by_length(*bad)


# Batches.


@pytest.mark.parametrize("options", [{"num_groups": 3}, {"micro_batch_size": 2}, {"num_groups": 2, "micro_batch_size": 2}])
def test_embeddings_of_groups_are_those_of_the_whole_batch(options, rows, processor, model):
    items = items_of(rows, processor)
    whole, batch = Collator(processor)(items), Collator(processor, **options)(items)
    assert len(whole.groups) == 1
    assert len(batch.groups) > 1
    with torch.no_grad():
        expected, outputs = model(**whole.groups[0]), [model(**group) for group in batch.groups]
    for side in ("motion_embeds", "text_embeds"):
        found = torch.cat([getattr(out, side) for out in outputs])[batch.order.argsort()]
        torch.testing.assert_close(found, getattr(expected, side)[whole.order.argsort()], atol=1e-5, rtol=0)


def test_each_group_is_padded_to_its_own_longest_motion_and_captions_to_one_length(rows, processor):
    batch = Collator(processor, num_groups=3)(items_of(rows, processor))
    kept = np.minimum(LENGTHS, 64)
    for group, places in zip(batch.groups, batch.order.split([len(g["input_ids"]) for g in batch.groups]), strict=True):
        longest = -(-max(kept[places]) // 8)
        assert group["motion_values"].shape[-2:] == (8 * longest, 40)
        assert group["motion_attention_mask"].sum(dim=1).tolist() == [-(-kept[place] // 8) for place in places]
        assert group["motion_attention_mask"].shape[1] == longest
    assert sum(group["motion_values"].shape[-2] * len(group["input_ids"]) for group in batch.groups) < 6 * 64
    assert torch.cat([group["attention_mask"] for group in batch.groups]).sum(dim=0).min() > 0  # no column of padding alone


def test_groups_hold_at_most_a_micro_batch_evenly(rows, processor):
    items = items_of(rows, processor) + items_of(rows, processor)[:1]
    sizes = [len(group["input_ids"]) for group in Collator(processor, micro_batch_size=3)(items).groups]
    assert sizes == [3, 2, 2]


@pytest.mark.parametrize(
    ("options", "sizes"), [({"num_groups": 4}, [2, 2, 2]), ({"micro_batch_size": 4}, [3, 3]), ({}, [6])]
)
def test_even_groups_are_the_same_in_all_processes(options, sizes, processor):
    for lengths in (LENGTHS, [8, 8, 8, 8, 8, 60]):
        items = items_of(made_rows(lengths), processor)
        batch = Collator(processor, **options, is_even=True)(items)
        assert [len(group["input_ids"]) for group in batch.groups] == sizes
        windows = [-(-lengths[place] // 8) for place in batch.order]
        assert windows == sorted(windows)
    one = Collator(processor, num_groups=4, is_even=True)(items[:1])
    assert [len(group["input_ids"]) for group in one.groups] == [1]


def test_what_is_random_does_not_depend_on_the_groups(rows, processor):
    items = items_of(rows, processor)  # the longest is cropped at random
    whole, batch = Collator(processor, part_mix=1.0)(items), Collator(processor, num_groups=4, part_mix=1.0)(items)
    torch.testing.assert_close(batch.targets, whole.targets)
    columns = [together(b, "motion_attention_mask").shape[-1] * 8 for b in (batch, whole)]
    frames = min(columns)
    values = [torch.cat([g["motion_values"][..., :frames, :] for g in b.groups])[b.order.argsort()] for b in (batch, whole)]
    torch.testing.assert_close(values[0], values[1])
    others = [{**item, "seed": item["seed"] + 1} for item in items]
    assert not torch.equal(Collator(processor, part_mix=1.0)(others).targets, whole.targets)


def test_a_long_motion_is_cropped_by_its_own_seed_alone(rows, processor):
    items = items_of(rows, processor)
    long = items[4]

    def values(seed, others):
        batch = Collator(processor)([{**long, "seed": seed}, *others])
        return batch.groups[0]["motion_values"][batch.order.argsort()[0]]

    alone = [values(seed, []) for seed in range(8)]
    torch.testing.assert_close(values(3, items[:2]), alone[3])
    assert len({tuple(crop.flatten().tolist()) for crop in alone}) > 3


@pytest.mark.parametrize("options", [{"padding": "max_length"}, {"return_attention_mask": False}])
def test_where_grouping_is_of_no_use_or_would_show_the_batch_is_one_group(options, rows, motion_processor, tokenizer):
    processor = MotionTextProcessor(MotionPatchProcessor(**{**motion_processor.to_dict(), **options}), tokenizer)
    items = items_of(rows, processor)
    batch = Collator(processor, num_groups=4)(items)
    assert len(batch.groups) == 1
    assert batch.order.tolist() == list(range(6))
    small = Collator(processor, num_groups=4, micro_batch_size=2)(items)
    assert [group["motion_values"].shape for group in small.groups] == [(2, 3, 64, 40)] * 3


def test_several_persons_are_grouped(motion_processor, tokenizer):
    processor = MotionTextProcessor(motion_processor, tokenizer)
    pair = {"skeleton": "smpl22", "fps": 20, "persons": 2}
    items = [
        {"motion": processor.feature_extractor.prepare(motion), "caption": CAPTIONS[number], "seed": number}
        for number, length in enumerate([40, 12, 33, 9])
        for joints in [np.stack([swinging_motion(num_frames=length, seed=number + p) for p in (0, 1)])]
        for motion in processor.feature_extractor.resolve([{**pair, "joints": joints}])
    ]
    batch = Collator(processor, num_groups=2, part_mix=1.0)(items)
    assert [tuple(group["motion_values"].shape) for group in batch.groups] == [(2, 2, 3, 16, 40), (2, 2, 3, 40, 40)]
    assert [tuple(group["motion_attention_mask"].shape) for group in batch.groups] == [(2, 2, 2), (2, 2, 5)]


def test_mixed_parts_reach_the_model_with_their_targets(rows, processor):
    items = items_of(rows, processor)
    plain, mixed = Collator(processor)(items), Collator(processor, part_mix=1.0)(items)
    assert plain.targets is None
    assert mixed.targets.dtype == torch.float32
    torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(6))
    values = [batch.groups[0]["motion_values"][batch.order.argsort()] for batch in (plain, mixed)]
    for own, row in enumerate(mixed.targets):
        (donor,) = (index for index, weight in enumerate(row.tolist()) if weight and index != own)
        frames = min(LENGTHS[own], LENGTHS[donor], 64)
        changed = (values[1][own] != values[0][own]).any(dim=0).any(dim=0)
        assert row[donor].item() == pytest.approx(changed.sum().item() / 40 * frames / min(LENGTHS[own], 64))
        torch.testing.assert_close(values[1][own][:, :frames, changed], values[0][donor][:, :frames, changed])


def test_parts_of_raw_joints_cannot_be_mixed(tokenizer):
    joints = MotionPatchProcessor(patch_size=1, representation="joints", normalization=None)
    with pytest.raises(ValueError, match=r"part_mix=0.5 .*representation='joints'.*augment_part_mix=0"):
        Collator(MotionTextProcessor(joints, tokenizer), part_mix=0.5)


@pytest.mark.parametrize("bad", [{"num_groups": 0}, {"micro_batch_size": 0}, {"part_mix": 1.5}, {"part_mix": -0.1}])
def test_impossible_collators(bad, processor):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))} must be"):
        Collator(processor, **bad)


def test_a_batch_moves_as_a_whole(rows, processor, monkeypatch):
    batch = Collator(processor, num_groups=3, part_mix=0.5)(items_of(rows, processor))
    moved = batch.to("meta")
    assert isinstance(moved, PairBatch)
    assert {tensor.device.type for group in moved.groups for tensor in group.values()} == {"meta"}
    assert moved.order.device.type == moved.targets.device.type == "meta"
    assert batch.order.device.type == batch.groups[0]["input_ids"].device.type == "cpu"
    assert Collator(processor)(items_of(rows, processor)).to("meta").targets is None
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: pinned.append(tensor.shape) or tensor.clone())
    for again in (batch.pin_memory(), pin_memory(batch), pickle.loads(pickle.dumps(batch))):
        assert isinstance(again, PairBatch)
        torch.testing.assert_close([dict(group) for group in again.groups], [dict(group) for group in batch.groups])
        torch.testing.assert_close((again.order, again.targets), (batch.order, batch.targets))
    assert len(pinned) == 2 * (4 * len(batch.groups) + 2)


# The loader.


def batches_of(loader):
    return [[{k: v.tolist() for k, v in group.items()} for group in batch.groups] for batch in loader]


def test_the_loader_gives_what_the_model_takes_and_the_run_asks_for(rows, processor):
    run = RunArguments(batch_size=3, length_groups=2, micro_batch_size=1, caption_choice="first", augment_part_mix=0.9)
    loader = make_loader(rows, processor, run)
    first, second = loader
    for batch in (first, second):
        assert [set(group) for group in batch.groups] == [
            {"motion_values", "motion_attention_mask", "input_ids", "attention_mask"}
        ] * 3
        assert batch.targets.shape == (3, 3)
    captions = {
        text
        for batch in loader.batch_sampler.make_batches(0)
        for text in (rows[key.row]["captions"][key.caption] for key in batch)
    }
    assert captions == {texts[0] for texts in rows["captions"]}
    assert loader.dataset.augmentation == Augmentation(part_mix=0.9)
    assert next(iter(make_loader(rows, processor, RunArguments(batch_size=3)))).targets is None
    mirrored = make_loader(rows, processor, RunArguments(batch_size=3, augment_mirror=1.0)).batch_sampler
    assert all(key.mirrored for batch in mirrored for key in batch)


def test_equal_captions_meet_only_where_the_run_lets_them(rows, processor):
    twins = rows.map(lambda row, index: {"captions": [CAPTIONS[index % 2]]}, with_indices=True)

    def meet(is_unique):
        runs = [RunArguments(batch_size=2, seed=seed, unique_captions=is_unique) for seed in range(6)]
        samplers = [make_loader(twins, processor, run).batch_sampler for run in runs]
        return any((batch[0].row - batch[1].row) % 2 == 0 for sampler in samplers for batch in sampler)

    assert meet(is_unique=False)
    assert not meet(is_unique=True)


def test_equal_labels_meet_only_where_the_run_lets_them(rows, processor):
    labelled = rows.map(lambda row, index: {"label": ["wave", "kick"][index % 2], "style": None}, with_indices=True)

    def meet(is_unique, rows=labelled):
        runs = [RunArguments(batch_size=2, seed=seed, unique_labels=is_unique) for seed in range(6)]
        samplers = [make_loader(rows, processor, run).batch_sampler for run in runs]
        return any((batch[0].row - batch[1].row) % 2 == 0 for sampler in samplers for batch in sampler)

    assert meet(is_unique=False)
    assert not meet(is_unique=True)
    styled = labelled.map(lambda row, index: {"style": f"style {index}"}, with_indices=True)
    assert meet(is_unique=True, rows=styled)
    with pytest.raises(ValueError, match="no motion has any; give the data a column `label`"):
        meet(is_unique=True, rows=rows.map(lambda row: {"label": None}))


def test_a_seed_decides_the_batches_in_any_number_of_workers(rows, processor):
    fields = {"batch_size": 3, "augment_crop": 0.3, "augment_scale": 0.1, "augment_part_mix": 0.5, "augment_mirror": 0.5}
    here, workers = (make_loader(rows, processor, RunArguments(**fields, num_workers=number)) for number in (0, 1))
    state = torch.get_rng_state()
    expected = batches_of(here)
    assert batches_of(here) == expected
    assert torch.equal(torch.get_rng_state(), state)  # a resumed run starts the loader once more, and must not notice
    assert batches_of(workers) == expected
    for loader in (here, workers):
        loader.batch_sampler.set_epoch(1)
    assert batches_of(workers) == batches_of(here) != expected
    assert batches_of(make_loader(rows, processor, RunArguments(**fields, seed=1))) != expected


def test_a_loader_can_be_sent_to_workers_that_start_anew(rows, processor):
    loader = make_loader(rows, processor, RunArguments(batch_size=3, augment_crop=0.3))
    dataset, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    keys = loader.batch_sampler.make_batches(0)[0]
    torch.testing.assert_close(
        collate([dataset[key] for key in keys]).groups[0]["motion_values"], next(iter(loader)).groups[0]["motion_values"]
    )


def test_labels_are_captions_on_request(rows, processor):
    labelled = rows.remove_columns("label").add_column("label", ["jump", None, *["walk"] * (len(rows) - 2)])
    captions = add_label_captions(labelled, "A person {}.")["captions"]
    assert captions[0] == [*rows[0]["captions"], "A person jump."]
    assert captions[1] == rows[1]["captions"]
    assert captions[-1][-1] == "A person walk."
    for template in ("A person.", "{} or {}"):
        with pytest.raises(ValueError, match=r"must hold \{\} once"):
            add_label_captions(labelled, template)
    with pytest.raises(ValueError, match="no motion has any; give the data a column `label`"):
        add_label_captions(labelled.remove_columns("label"), "A person {}.")
    broken = labelled.map(lambda row, index: {"captions": None if index == 2 else row["captions"]}, with_indices=True)
    with pytest.raises(BrokenSampleError, match=r"row 2 .*no list of captions"):
        add_label_captions(broken, "A person {}.")


def test_batches_by_a_column(processor):
    rows = made_rows([20] * 8).remove_columns("dataset").add_column("dataset", ["cmu", "utd"] * 4)
    sampler = make_loader(rows, processor, RunArguments(batch_size=4, batch_by="dataset")).batch_sampler
    assert sampler.kinds.tolist() == [0, 1] * 4
    assert make_loader(rows, processor, RunArguments(batch_size=4)).batch_sampler.kinds is None
    with pytest.raises(ValueError, match="batch_by='studio' is no column of the data; it has"):
        make_loader(rows, processor, RunArguments(batch_size=4, batch_by="studio"))


def test_length_buckets_sort_by_the_lengths_that_the_model_sees(processor):
    rows = made_rows([20, 20, 60, 60, 100, 400]).map(
        lambda row, index: {"fps": 20.0 if index % 2 else 60.0}, with_indices=True
    )
    loader = make_loader(rows, processor, RunArguments(batch_size=2, length_buckets=3))
    assert loader.batch_sampler.lengths.tolist() == [7, 20, 20, 60, 34, 64]  # at 20 frames a second, at most 64
    assert sorted(sorted(key.row for key in batch) for batch in loader.batch_sampler) in (
        [[0, 1], [2, 4], [3, 5]],
        [[0, 2], [1, 4], [3, 5]],
    )


def test_processes_share_a_batch_and_make_equally_many_groups(processor):
    rows = made_rows([8] * 7 + [60])
    run = RunArguments(batch_size=8, caption_choice="first", length_groups=2)
    loaders = [make_loader(rows, processor, run, *share) for share in ((1, 0), (2, 0), (2, 1))]
    whole, *parts = (texts_of(next(iter(loader))) for loader in loaders)
    assert [[len(group) for group in part] for part in parts] == [[2, 2], [2, 2]]
    assert sorted(ids for part in parts for group in part for ids in group) == sorted(
        ids for group in whole for ids in group
    )


def texts_of(batch):
    """The token ids of each group."""
    ids = [zip(group["input_ids"], group["attention_mask"], strict=True) for group in batch.groups]
    return [[row[mask.bool()].tolist() for row, mask in group] for group in ids]


# Rows that cannot be used.


def changed(row, **values):
    """The rows with one of them changed."""
    listed = made_rows().to_list()
    listed[row].update(values)
    return Dataset.from_list(listed)


def flat(length=33):
    return swinging_motion(num_frames=length).reshape(-1).tolist()


BROKEN = {
    "nan": ({"joints": [float("nan"), *flat()[1:]]}, "the motion has 1 values that are NaN or infinite"),
    "null": ({"joints": [None, *flat()[1:]]}, "the motion has 1 values that are NaN or infinite"),
    "infinite": ({"joints": [float("inf"), *flat()[1:]]}, "the motion has 1 values that are NaN or infinite"),
    "far": ({"joints": [1e20, *flat()[1:]]}, "it has joints 1e\\+20 m from the origin"),
    "no joints": ({"joints": None}, "it has no joints"),
    "short": ({"joints": flat()[:-3]}, "the motion holds 2175 values, but its row says"),
    "frames": ({"num_frames": 34}, "the motion holds 2178 values, but its row says"),
    "no frames": ({"joints": [], "num_frames": 0}, "the motion has 0 frames; a motion needs at least two"),
    "one frame": ({"joints": flat()[:66], "num_frames": 1}, "the motion has 1 frames; a motion needs at least two"),
    "unknown frames": ({"num_frames": None, "fps": None}, "it has no num_frames and no fps"),
    "skeleton": ({"skeleton": "octopus"}, "unknown skeleton 'octopus'"),
    "no skeleton": ({"skeleton": None}, "the motion has 22 joints and says no skeleton"),
    "other skeleton": ({"skeleton": "kit21"}, "the motion has 22 joints, but skeleton 'kit21' has 21"),
    "rate": ({"fps": 0.0}, "the motion: fps must be a positive number"),
    "unit": ({"unit": "parsecs"}, "the motion has unit 'parsecs'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_row_that_cannot_be_prepared_is_named(case, motion_processor):
    values, reason = BROKEN[case]
    rows = changed(3, **values)
    with pytest.raises(BrokenSampleError, match=reason) as caught:
        MotionDataset(rows, motion_processor).draw(3, 0)
    text = str(caught.value)
    assert text.startswith("row 3 (counted from 0), id 'motion_3', data set 'made', cannot be used: ")
    assert text.endswith(". Mend that row of the data, or remove it")
    assert isinstance(caught.value.__cause__, (ValueError, TypeError, ArithmeticError))
    with pytest.raises(BrokenSampleError, match="row 3"):
        check_motions(rows, motion_processor)


def test_a_body_without_legs_is_named_where_bodies_are_scaled(tokenizer):
    rows = changed(2, joints=[0.0] * 60 * 66)
    with pytest.raises(BrokenSampleError, match=r"row 2 .*the legs of this 'smpl22' motion have length 0"):
        MotionDataset(rows, MotionPatchProcessor(normalization=None, body_scale=0.8)).draw(2, 0)


@pytest.mark.parametrize(
    ("captions", "reason"),
    [
        (["walks", " "], "caption 1 is empty: ' '"),
        (["walks", None], "caption 1 is a NoneType, not a text: None"),
        ([], r"it has no list of captions, but \[\]"),
        (None, "it has no list of captions, but None"),
    ],
)
def test_a_caption_that_is_no_text_is_named_before_training(captions, reason, processor):
    with pytest.raises(
        BrokenSampleError, match=rf"^row 4 .*id 'motion_4', data set 'made', cannot be used: {reason}\. Mend"
    ):
        make_loader(changed(4, captions=captions), processor, RunArguments(batch_size=3))


def test_captions_of_another_type_and_their_number(processor):
    listed = made_rows().to_list()
    for number, row in enumerate(listed):
        row["captions"] = [number]
    with pytest.raises(BrokenSampleError, match=r"row 0 .*caption 0 is a int.*6 of the 6 rows have such captions"):
        MotionTextDataset(Dataset.from_list(listed), processor)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_row_is_named_by_a_worker_too(num_workers, processor):
    rows = changed(3, joints=[float("nan"), *flat()[1:]], num_frames=33)
    loader = make_loader(rows, processor, RunArguments(batch_size=3, num_workers=num_workers))
    with pytest.raises(BrokenSampleError, match=r"row 3 .*id 'motion_3', data set 'made'.*1 values that are NaN.*remove it"):
        list(loader)
