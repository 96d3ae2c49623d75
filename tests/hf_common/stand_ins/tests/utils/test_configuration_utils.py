#: Fields of every `PreTrainedConfig`, each with another value than its default.
config_common_kwargs = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 4,
    "architectures": ["AnyModel"],
    "id2label": {0: "walk", 1: "jump", 2: "wave"},
    "label2id": {"walk": 0, "jump": 1, "wave": 2},
    "problem_type": "regression",
}
