"""The same tests for CLIP of transformers: what it fails too is no fault of ours."""

import unittest

import torch
from tests.test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}


class Tester:
    batch_size = 7
    num_hidden_layers = 2
    num_attention_heads = 2
    hidden_size = 32

    def __init__(self, parent, inputs, side=None, is_training=False):
        self.parent, self.inputs, self.side, self.is_training = parent, inputs, side, is_training
        self.seq_length = 7 if side == "text_config" else 17

    def get_config(self):
        text_config = {**SIZES, "vocab_size": 99, "eos_token_id": 98, "bos_token_id": 97}
        vision_config = {**SIZES, "image_size": 32, "patch_size": 8}
        config = CLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=16)
        return config if self.side is None else getattr(config, self.side)

    def prepare_config_and_inputs_for_common(self):
        texts = {"input_ids": ids_tensor([7, 7], 99), "attention_mask": torch.ones(7, 7, dtype=torch.long)}
        every = {"pixel_values": {"pixel_values": floats_tensor([7, 3, 32, 32])}, "input_ids": texts}
        inputs = {key: value for name in self.inputs for key, value in every[name].items()}
        return self.get_config(), {**inputs, **({"return_loss": True} if len(self.inputs) > 1 else {})}


class CLIPModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (CLIPModel,)
    _is_composite = True
    additional_model_inputs = ["pixel_values"]  # noqa: RUF012

    def setUp(self):
        self.model_tester = Tester(self, ["input_ids", "pixel_values"], is_training=True)


class CLIPVisionModelWithProjectionTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (CLIPVisionModelWithProjection,)
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = Tester(self, ["pixel_values"], "vision_config")


class CLIPVisionModelTest(CLIPVisionModelWithProjectionTest):
    all_model_classes = (CLIPVisionModel,)


class CLIPTextModelWithProjectionTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (CLIPTextModelWithProjection,)

    def setUp(self):
        self.model_tester = Tester(self, ["input_ids"], "text_config")


class CLIPForImageClassificationTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (CLIPForImageClassification,)
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = Tester(self, ["pixel_values"], is_training=True)
