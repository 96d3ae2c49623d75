"""transformers' common tests, unmodified, for every model class, the configuration and the feature extractor of this package."""

import unittest

import torch
from tests.generation.test_utils import GenerationTesterMixin
from tests.test_configuration_common import ConfigTester
from tests.test_feature_extraction_common import FeatureExtractionSavingTestMixin
from tests.test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor
from transformers import DeiTConfig, DistilBertConfig, LlamaConfig

from motionpatches import (
    MotionLlamoConfig,
    MotionLlamoForConditionalGeneration,
    MotionLlamoModel,
    MotionPatchesConfig,
    MotionPatchesForMotionClassification,
    MotionPatchesModel,
    MotionPatchesMotionModelWithProjection,
    MotionPatchesTextModelWithProjection,
    MotionPatchProcessor,
    motion_vit_config,
)
from motionpatches.motion_towers import MotionViTModel


LAYERS, HEADS, WIDTH, WINDOWS, PATCH, TOKENS, VOCABULARY = 2, 2, 32, 4, 8, 7, 99


class Tester:
    """Sizes that the common tests ask for, a tiny configuration, and inputs."""

    batch_size = 7  # what the comparison of attention implementations needs; a smaller one it fills up at random
    num_hidden_layers = LAYERS
    num_attention_heads = HEADS
    hidden_size = WIDTH
    is_training = True

    def __init__(self, parent, **fields):
        self.parent = parent
        self.fields = fields
        self.seq_length = 1 + 5 * WINDOWS

    def get_config(self):
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 37}
        text_config = DistilBertConfig(
            vocab_size=VOCABULARY, dim=WIDTH, hidden_dim=37, n_layers=LAYERS, n_heads=HEADS, pad_token_id=0
        )
        motion_config = motion_vit_config("tiny", PATCH, WINDOWS * PATCH, **sizes)
        return MotionPatchesConfig(motion_config=motion_config, text_config=text_config, projection_dim=16, **self.fields)

    def motions(self):
        persons = self.fields.get("num_persons", 1)
        leading = (self.batch_size,) if persons == 1 else (self.batch_size, persons)
        mask = torch.ones(*leading, WINDOWS, dtype=torch.long)
        mask[0, ..., 2:] = 0
        return {
            "motion_values": floats_tensor([*leading, 3, WINDOWS * PATCH, 5 * PATCH]),
            "motion_attention_mask": mask,
        }

    def texts(self):
        mask = torch.ones(self.batch_size, TOKENS, dtype=torch.long)
        mask[0, 5:] = 0
        return {"input_ids": ids_tensor([self.batch_size, TOKENS], VOCABULARY), "attention_mask": mask}

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), self.motions()


class BothTester(Tester):
    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), {**self.motions(), **self.texts(), "return_loss": True}


class TowerTester(Tester):
    is_training = False  # a tower alone has no loss


class TextTester(Tester):
    is_training = False

    def __init__(self, parent, **fields):
        super().__init__(parent, **fields)
        self.seq_length = TOKENS

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), self.texts()


class ViTTester(TowerTester):
    mask_length = 5 * WINDOWS  # of masked image modelling, which the signature of a ViT has
    num_masks = WINDOWS

    def get_config(self):
        return super().get_config().motion_config

    def prepare_config_and_inputs_for_common(self):
        return self.get_config(), {"pixel_values": self.motions()["motion_values"]}


class OurTests(ModelTesterMixin):
    # Asked of models added since 2023, which is told by a year in the file of the configuration; ours gives none.
    test_can_init_all_missing_weights_before_2023 = True


class MotionPatchesModelTest(OurTests, unittest.TestCase):
    all_model_classes = (MotionPatchesModel,)
    _is_composite = True
    additional_model_inputs = ["motion_values", "motion_attention_mask"]  # noqa: RUF012
    fields: dict = {}  # noqa: RUF012

    def setUp(self):
        self.model_tester = BothTester(self, **self.fields)

    def test_config(self):
        properties = ["projection_dim", "projection_dropout", "logit_scale_init_value", "num_persons", "motion_pooling"]
        ConfigTester(
            self, config_class=MotionPatchesConfig, has_text_modality=False, common_properties=properties
        ).run_common_tests()


class MotionPatchesModelMeanPoolingTest(MotionPatchesModelTest):
    fields = {"motion_pooling": "mean", "text_pooling": "mean", "loss": "duplicate_aware"}  # noqa: RUF012


class MotionPatchesModelTwoPersonsTest(MotionPatchesModelTest):
    fields = {"num_persons": 2, "loss": "sigmoid", "learn_logit_scale": True}  # noqa: RUF012


class MotionPatchesMotionModelWithProjectionTest(OurTests, unittest.TestCase):
    all_model_classes = (MotionPatchesMotionModelWithProjection,)
    additional_model_inputs = ["motion_attention_mask"]  # noqa: RUF012
    test_resize_embeddings = False  # of patches, not of a vocabulary

    def setUp(self):
        self.model_tester = TowerTester(self)


class MotionPatchesTextModelWithProjectionTest(OurTests, unittest.TestCase):
    all_model_classes = (MotionPatchesTextModelWithProjection,)

    def setUp(self):
        self.model_tester = TextTester(self)


class MotionPatchesForMotionClassificationTest(OurTests, unittest.TestCase):
    all_model_classes = (MotionPatchesForMotionClassification,)
    additional_model_inputs = ["motion_attention_mask"]  # noqa: RUF012
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = Tester(self)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        # The common tests know the classes of transformers by name, and give those labels.
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels:
            inputs["labels"] = torch.zeros(self.model_tester.batch_size, dtype=torch.long)
        return inputs


class MotionViTModelTest(OurTests, unittest.TestCase):
    all_model_classes = (MotionViTModel,)
    test_resize_embeddings = False

    def setUp(self):
        self.model_tester = ViTTester(self)


class LlamoTester(Tester):
    """A motion of two windows, a video of two frames and a question in each row."""

    motion_token, video_token, windows, frames = 1, 2, 2, 2

    def __init__(self, parent, is_training, **fields):
        super().__init__(parent, **fields)
        self.is_training = is_training
        is_projector = fields["fusion"] == "projector"
        self.num_motion, self.num_video = (5 * self.windows, self.frames) if is_projector else [fields["num_selected"]] * 2
        self.seq_length = self.num_motion + self.num_video + TOKENS

    def get_config(self):
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 37}
        return MotionLlamoConfig(
            motion_config=MotionPatchesConfig(motion_config=motion_vit_config("tiny", PATCH, self.windows * PATCH, **sizes)),
            video_config=DeiTConfig(**sizes, image_size=16, patch_size=8),
            text_config=LlamaConfig(**sizes, num_key_value_heads=HEADS, vocab_size=VOCABULARY, pad_token_id=0),
            motion_token_id=self.motion_token,
            video_token_id=self.video_token,
            **self.fields,
        )

    def prepare_config_and_inputs_for_common(self):
        first = 1 + self.video_token
        texts = first + ids_tensor([self.batch_size, TOKENS], VOCABULARY - first)
        motion = torch.full((self.batch_size, self.num_motion), self.motion_token)
        video = torch.full((self.batch_size, self.num_video), self.video_token)
        input_ids = torch.cat([texts[:, :2], motion, video, texts[:, 2:]], dim=1)
        return self.get_config(), {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "question_turns": torch.ones_like(input_ids),
            "motion_values": floats_tensor([self.batch_size, 3, self.windows * PATCH, 5 * PATCH]),
            "motion_attention_mask": torch.ones(self.batch_size, self.windows, dtype=torch.long),
            "pixel_values_videos": floats_tensor([self.batch_size, self.frames, 3, 16, 16]),
        }


class MotionLlamoModelTest(OurTests, unittest.TestCase):
    all_model_classes = (MotionLlamoModel,)
    _is_composite = True
    additional_model_inputs = [  # noqa: RUF012
        "motion_values", "motion_attention_mask", "pixel_values_videos", "question_turns",
    ]  # fmt: skip
    is_training = False  # without a head there is no loss
    fields: dict = {"fusion": "cross_talker", "num_selected": 2, "num_segments": 2, "num_talker_heads": HEADS}  # noqa: RUF012

    def setUp(self):
        self.model_tester = LlamoTester(self, self.is_training, **self.fields)

    def test_config(self):
        properties = ["fusion", "selection_unit", "num_selected", "num_segments", "motion_token_id", "video_token_id"]
        ConfigTester(
            self, config_class=MotionLlamoConfig, has_text_modality=False, common_properties=properties
        ).run_common_tests()


class MotionLlamoForConditionalGenerationCrossTalkerTest(GenerationTesterMixin, MotionLlamoModelTest):
    all_model_classes = (MotionLlamoForConditionalGeneration,)
    is_training = True

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels:
            inputs["labels"] = inputs["input_ids"]
        return inputs


class MotionLlamoForConditionalGenerationTest(MotionLlamoForConditionalGenerationCrossTalkerTest):
    fields = {"fusion": "projector"}  # noqa: RUF012


class MotionPatchProcessorTest(FeatureExtractionSavingTestMixin, unittest.TestCase):
    feature_extraction_class = MotionPatchProcessor
    feat_extract_dict = {  # noqa: RUF012
        "patch_size": 8,
        "max_frames": 64,
        "fps": 25.0,
        "interpolation": "landmarks",
        "normalization": None,
        "root": "relative",
        "padding": "longest",
    }
