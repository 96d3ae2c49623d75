"""From the tokens of motions and videos to what enters a language model: a projector, and the cross talker of LLaMo."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init

from .configuration_motion_llamo import MotionLlamoConfig


class Clips(NamedTuple):
    """Motions of a batch, or its videos.

    Args:
        tokens: Of M motions, (M, W, parts, d) of W windows; of videos (M, T, 1, d) of T frames.
        mask: Shape (M, W), bool: windows, or frames, that are real; they come first.
        values: Of motions, `motion_values` (M, 3, W·N, columns); of videos `None`.
        rows: Shape (M,): the row of the batch that each is in.
        turns: Shape (M,): the turn of the conversation, counted from 1; 0 where turns are not known.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    values: torch.Tensor | None
    rows: torch.Tensor
    turns: torch.Tensor


class Question(NamedTuple):
    """For each of M clips, the text of its turn: embeddings (M, L, D) of its row, and which of them count, (M, L) bool."""

    embeds: torch.Tensor
    mask: torch.Tensor


class Units(NamedTuple):
    """What the question selects from: (M, U, d) of M clips, which of them are real (M, U), and their times (U,) in windows of a
    motion or frames of a video."""

    tokens: torch.Tensor
    mask: torch.Tensor
    times: torch.Tensor


class Fused(NamedTuple):
    """What enters the language model.

    Args:
        states: Shape (M, K, D), or flat (tokens, D) of the projector.
        question_update: Shape (M, L, D), to add to the embeddings of each clip's row; `None`: nothing.
        chosen: Shape (M, K): the units that were selected, in the order of time; -1 where a clip has fewer. `None`: all.
    """

    states: torch.Tensor
    question_update: torch.Tensor | None = None
    chosen: torch.Tensor | None = None


def num_units(config: MotionLlamoConfig, num_windows: int) -> int:
    """Of a motion of so many windows, how many units there are to select from."""
    grid = config.motion_grid
    return num_windows * {"patch": grid.parts, "window": 1, "frame": grid.frames}[config.selection_unit]


def num_placeholders(config: MotionLlamoConfig, num_windows: int) -> int:
    """How many placeholders a motion of so many windows has in the text."""
    return config.num_selected if config.fusion == "cross_talker" else num_windows * config.motion_grid.parts


class MotionProjector(nn.Module):
    """Each patch token through an MLP of two layers into the language model (LLaVA-1.5, Liu et al., CVPR 2024)."""

    def __init__(self, config: MotionLlamoConfig, motion_width: int, video_width: int | None, text_width: int) -> None:
        super().__init__()
        self.motion = _mlp(motion_width, text_width)
        self.video = None if video_width is None else _mlp(video_width, text_width)

    def forward(self, motions: Clips | None, videos: Clips | None, *_: Any) -> tuple[Fused | None, Fused | None]:
        """States of the real windows of all motions, time-major with the parts inner, and of the frames of all videos."""
        return (
            None if motions is None else Fused(self.motion(motions.tokens[motions.mask]).flatten(0, 1)),
            None if videos is None or self.video is None else Fused(self.video(videos.tokens[videos.mask]).flatten(0, 1)),
        )


class MotionCrossTalker(nn.Module):
    """LLaMo's fusion: an enhancer, selection by the question, local and global context, attention both ways with the question.

    What the abstract and summaries of the paper leave open is ours; docs/llamo.md says what.
    """

    def __init__(self, config: MotionLlamoConfig, motion_width: int, video_width: int | None, text_width: int) -> None:
        super().__init__()
        width, heads, dropout = motion_width, config.num_talker_heads, float(config.talker_dropout)
        if width % heads:
            raise ValueError(f"num_talker_heads={heads} must divide the width of the motion tower, {width}")
        self.config = config
        grid = config.motion_grid
        self.gather = nn.Linear(grid.parts * width, width) if config.selection_unit != "patch" else None
        self.frame = nn.Linear(3 * grid.columns, width) if config.selection_unit == "frame" else None
        self.video_in = None if video_width is None else nn.Linear(video_width, width)
        sees = video_width is not None
        self.enhancer = nn.ModuleList(EnhancerLayer(width, heads, dropout, sees) for _ in range(config.num_enhancer_layers))
        self.question_in = nn.Linear(text_width, width)
        self.nothing = nn.Parameter(torch.zeros(width))  # asked where no question is
        self.ask, self.answer = nn.Linear(width, width), nn.Linear(width, width)
        self.local = CrossAttention(width, heads, dropout)
        self.log_reach = nn.Parameter(torch.full((heads,), 1.0))  # of the local context, in windows, for each head
        self.whole = CrossAttention(width, heads, dropout)
        self.talk = nn.ModuleList(TalkerLayer(width, heads, dropout) for _ in range(config.num_talker_layers))
        self.norm = nn.LayerNorm(width)
        self.out = _mlp(width, text_width)
        self.question_out = nn.Linear(width, text_width)

    @torch.no_grad()
    def reset_own_parameters(self) -> None:
        """At first the question's embeddings stay as they are."""
        init.zeros_(self.question_out.weight)
        init.zeros_(self.question_out.bias)
        init.normal_(self.nothing, std=0.02)
        init.constant_(self.log_reach, 1.0)

    def forward(
        self,
        motions: Clips | None,
        videos: Clips | None,
        motion_question: Question | None,
        video_question: Question | None,
    ) -> tuple[Fused | None, Fused | None]:
        """Selected states of each motion and of each video."""
        motion = None if motions is None else self._motion_units(motions)
        video = None if videos is None or self.video_in is None else self._video_units(videos, self.video_in)
        layer: Any
        for layer in self.enhancer:
            if video is not None:
                video = video._replace(tokens=layer.alone(video.tokens, video.tokens, video.mask))
            if motion is not None:
                alone = layer.alone(motion.tokens, motion.tokens, motion.mask)
                motion = motion._replace(tokens=layer(alone, *_seen_with(motions, videos, video)))
        return (
            None if motion is None or motion_question is None else self._talk(motion, motion_question),
            None if video is None or video_question is None else self._talk(video, video_question),
        )

    @staticmethod
    def _video_units(videos: Clips, project: nn.Module) -> Units:
        tokens = project(videos.tokens.flatten(1, 2))
        return Units(tokens, videos.mask, torch.arange(tokens.shape[1], device=tokens.device, dtype=tokens.dtype))

    def _motion_units(self, motions: Clips) -> Units:
        tokens, mask = motions.tokens, motions.mask
        num_windows, parts = tokens.shape[1:3]
        windows = torch.arange(num_windows, device=tokens.device, dtype=tokens.dtype)
        if self.gather is None:
            return Units(tokens.flatten(1, 2), mask.repeat_interleave(parts, dim=1), windows.repeat_interleave(parts))
        units = self.gather(tokens.flatten(2))
        if self.frame is None or motions.values is None:
            return Units(units, mask, windows)
        frames = motions.values.shape[2] // num_windows
        light = self.frame(motions.values.transpose(1, 2).flatten(2).to(tokens.dtype))
        times = torch.arange(num_windows * frames, device=tokens.device, dtype=tokens.dtype) / frames
        return Units(units.repeat_interleave(frames, dim=1) + light, mask.repeat_interleave(frames, dim=1), times)

    def _talk(self, of: Units, question: Question) -> Fused:
        units, mask, times = of
        asked = torch.cat([self.nothing.to(units.dtype).expand(len(units), 1, -1), self.question_in(question.embeds)], dim=1)
        asked_mask = F.pad(question.mask, (1, 0), value=True)
        kept, kept_mask, chosen = self._select(units, mask, asked, asked_mask)
        kept_times = times[chosen.clamp(min=0)]
        reach = self.log_reach.exp()[:, None, None]
        apart = (kept_times[:, :, None] - times)[:, None] / reach  # (M, heads, K, U)
        near = self.local(kept, units, mask, bias=-0.5 * apart.square())
        kept = near + self.whole(kept, *self._segments(units, mask)) - kept  # both are residual
        for layer in self.talk:
            kept, asked = layer(kept, kept_mask, asked, asked_mask)
        states = self.out(self.norm(kept)) * kept_mask[..., None]
        update = self.question_out(asked[:, 1:]) * question.mask[..., None]
        return Fused(states, update, chosen)

    def _select(
        self, units: torch.Tensor, mask: torch.Tensor, asked: torch.Tensor, asked_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The K units that the question attends to most, in the order of time: (M, K, d), which are real, and their numbers.

        A hard choice gives no gradient to its scores. So what is kept is multiplied by 1, in a form whose derivative is that of
        the logarithm of its share of the attention (straight-through).
        """
        scores = self.ask(asked) @ self.answer(units).transpose(1, 2) / units.shape[-1] ** 0.5
        shares = scores.masked_fill(~mask[:, None], float("-inf")).softmax(dim=-1) * asked_mask[..., None]
        share = (shares.sum(dim=1) / asked_mask.sum(dim=1, keepdim=True)).clamp(min=torch.finfo(units.dtype).tiny).log()
        number = min(self.config.num_selected, units.shape[1])
        top = share.masked_fill(~mask, float("-inf")).topk(number, dim=1).indices
        is_real = mask.gather(1, top)
        order = torch.where(is_real, top, units.shape[1] + top).argsort(dim=1)
        top, is_real = top.gather(1, order), is_real.gather(1, order)
        kept = units.gather(1, top[..., None].expand(-1, -1, units.shape[-1]))
        share = share.gather(1, top)
        kept = kept * (1 + share - share.detach())[..., None] * is_real[..., None]
        missing = self.config.num_selected - number
        chosen = torch.where(is_real, top, -1)
        return F.pad(kept, (0, 0, 0, missing)), F.pad(is_real, (0, missing)), F.pad(chosen, (0, missing), value=-1)

    def _segments(self, units: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means of S segments of equal length of each clip, (M, S, d), and which of them hold a unit."""
        number = self.config.num_segments
        lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
        segment = torch.arange(units.shape[1], device=units.device) * number // lengths
        member = F.one_hot(segment.clamp(max=number - 1), number).to(units.dtype) * mask[..., None]
        counts = member.sum(dim=1)
        return member.transpose(1, 2) @ units / counts.clamp(min=1)[..., None], counts > 0


def _seen_with(
    motions: Clips | None, videos: Clips | None, units: Units | None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """For each motion the frames of all videos (M, V·T, d), and which of them are of its own turn (M, V·T)."""
    if motions is None or videos is None or units is None:
        return None, None
    own = (motions.rows[:, None] == videos.rows) & (motions.turns[:, None] == videos.turns)
    mask = (own[:, :, None] & videos.mask).flatten(1)
    return units.tokens.flatten(0, 1).expand(len(motions.rows), -1, -1), mask


class CrossAttention(nn.Module):
    """Pre-norm attention of x to a context, with a residual; a learned slot that holds nothing is always there to attend to."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: torch.Tensor,
        context: torch.Tensor | None,
        mask: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """x (B, Q, d) and context (B, C, d), `mask` (B, C) of those that count, `bias` (B, heads, Q, C) on the logits."""
        if context is None:
            return x
        query, context = self.norm(x), self.context_norm(context)
        context = F.pad(context, (0, 0, 1, 0))  # the slot: its key and value are the biases of the layers
        added = torch.zeros(1, dtype=x.dtype, device=x.device) if bias is None else F.pad(bias.to(x.dtype), (1, 0))
        if mask is not None:
            added = added.masked_fill(~F.pad(mask, (1, 0), value=True)[:, None, None], float("-inf"))
        shape = (len(x), added.shape[1] if added.ndim == 4 else 1, x.shape[1], context.shape[1])
        attended = F.scaled_dot_product_attention(
            self._heads(self.query(query)),
            self._heads(self.key(context)),
            self._heads(self.value(context)),
            attn_mask=added.expand(shape),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return x + self.out(attended.transpose(1, 2).flatten(2))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class EnhancerLayer(nn.Module):
    """Self-attention over a stream of its own, and attention from motion to video where a model sees any."""

    def __init__(self, width: int, heads: int, dropout: float, sees: bool) -> None:
        super().__init__()
        self.alone = CrossAttention(width, heads, dropout)
        self.across = CrossAttention(width, heads, dropout) if sees else None
        self.feed = FeedForward(width, dropout)

    def forward(self, motion: torch.Tensor, video: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor:
        return self.feed(motion if self.across is None else self.across(motion, video, mask))


class TalkerLayer(nn.Module):
    """Attention from the units to the question and back."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.to_question = CrossAttention(width, heads, dropout)
        self.to_units = CrossAttention(width, heads, dropout)
        self.feed_units, self.feed_question = FeedForward(width, dropout), FeedForward(width, dropout)

    def forward(
        self, units: torch.Tensor, mask: torch.Tensor, question: torch.Tensor, question_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        units = self.to_question(units, question, question_mask)
        question = self.to_units(question, units, mask)
        return self.feed_units(units), self.feed_question(question)


class FeedForward(nn.Module):
    """Pre-norm MLP with a residual."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(self.norm(x))


def _mlp(width: int, text_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, text_width), nn.GELU(), nn.Linear(text_width, text_width))
