"""The Auto class of motion classification."""

from collections import OrderedDict

from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES


class AutoModelForMotionClassification(_BaseAutoModelClass):
    """Loads a model that classifies motions: `AutoModelForMotionClassification.from_pretrained("path/or/hub-id")`.

    transformers has no Auto class for motions; without this package, with `trust_remote_code=True`, such a checkpoint loads by
    `AutoModelForVideoClassification`.
    """

    _model_mapping = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())
