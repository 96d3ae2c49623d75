"""How captions written by a model are judged: by the words they share with people's captions, and by retrieval."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..modeling_motionpatches import MotionPatchesModel
from ..processing.processing_motionpatches import MotionTextProcessor
from .data import count_long_captions
from .evaluation import embed_texts
from .generation_metrics import r_precision


def caption_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU, ROUGE-L and CIDEr as image captioning has them, by pycocoevalcap.

    Texts are compared in lower case and without punctuation. That is nearly what the tokenizer of that library makes of them,
    which needs Java. METEOR and SPICE need Java too, or the data of WordNet, and are left out.

    Args:
        answers: N captions.
        references: For each, one or more captions by people.

    Returns:
        In percent: `"bleu1"` and `"bleu4"` (Papineni et al. 2002; of the whole corpus, to the closest reference length) and
        `"rouge_l"` (Lin 2004; F with β = 1.2, mean over captions). `"cider"` (Vedantam et al. 2015, in its variant CIDEr-D), from
        0 to 10, where papers multiply by 100: how rare words are is judged on these references, so that it needs many of them,
        and is 0 for one caption alone.

    Raises:
        ImportError: If pycocoevalcap is not installed.
        ValueError: If lengths differ, there are none, or a caption has no reference.
    """
    if len(answers) != len(references) or not len(answers):
        raise ValueError(
            f"{len(answers)} captions for {len(references)} lists of references; expected as many, at least one"
        )
    wanted = {number: [words for text in texts if (words := _words(text))] for number, texts in enumerate(references)}
    without = [number for number, texts in wanted.items() if not texts]
    if without:
        raise ValueError(
            f"{len(without)} of {len(wanted)} captions have no reference with a word in it, the first is number {without[0]}; "
            "caption those motions, or leave them out"
        )
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        raise ImportError("BLEU, ROUGE-L and CIDEr need pycocoevalcap: pip install 'motionpatches[captioning]'") from error
    found = {number: [_words(text)] for number, text in enumerate(answers)}
    bleu, _ = Bleu(4).compute_score(wanted, found, verbose=0)
    rouge, _ = Rouge().compute_score(wanted, found)
    cider, _ = Cider().compute_score(wanted, found)
    return {
        "bleu1": 100.0 * float(bleu[0]),
        "bleu4": 100.0 * float(bleu[3]),
        "rouge_l": 100.0 * float(rouge),
        "cider": float(cider),
    }


def caption_precision(
    model: MotionPatchesModel,
    processor: MotionTextProcessor,
    answers: Sequence[str],
    motion_embeds: np.ndarray,
    seed: int = 0,
) -> dict[str, Any]:
    """R-precision: how often a motion finds its own caption among 32; see `generation_metrics.r_precision`.

    Args:
        model, processor: The checkpoint that judges.
        answers: N captions. An empty one is embedded as a full stop.
        motion_embeds: Of the motions that they describe, by the same checkpoint. Shape (N, D).
        seed: Of the pools.

    Warns:
        UserWarning: If captions are cut at the tokenizer's limit, with their number.
    """
    texts = [text if text.strip() else "." for text in answers]
    too_long = count_long_captions(processor, texts)
    if too_long:
        warnings.warn(
            f"R-precision: {too_long} of {len(texts)} captions are longer than the retriever reads, and are cut",
            stacklevel=2,
        )
    return r_precision(embed_texts(model, processor, texts), motion_embeds, seed)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", re.sub(r"['’]", "", text.lower())))
