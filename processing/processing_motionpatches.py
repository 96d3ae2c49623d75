"""Processors: motions of any length, rate and skeleton → `motion_values`; captions → `input_ids`."""

import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin, ProcessorMixin

from .canonical import canonicalize as to_canonical_frame
from .canonical import change_up_axis, like, on_host, relative_to_root
from .motion_inputs import fit_declared_frames, one_per_motion, read_input, settle_fps, settle_skeleton
from .motion_statistics import RunningMoments, check_statistics
from .patches import INTERPOLATIONS, PatchMap, fill_all, interpolate, num_windows, patch_map, patch_matrix, window_mask
from .resampling import RESAMPLINGS, resample
from .skeletons import PARTS, UNITS, Skeleton, get_skeleton, list_skeletons


_CANONICAL_STEPS = ("detect", "unit", "up_axis", "floor", "center", "heading")
_SWITCHED = {switch: dict.fromkeys(_CANONICAL_STEPS[1:], switch) for switch in (True, False)}  # `detect` comes before
_CHOICES = {
    "representation": ("patches", "joints"),
    "interpolation": INTERPOLATIONS,
    "normalization": ("joints", "points", None),
    "resampling": RESAMPLINGS,
    "root": ("global", "relative"),
    "padding": ("max_length", "longest"),
    "truncation": ("start", "center", "random"),
}


#: What carries motion across skeletons best (docs/robustness.md).
ACROSS_SKELETONS: dict[str, Any] = {
    "interpolation": "landmarks",
    "normalization": "points",
    "min_std": 0.1,
    "per_skeleton": False,
    "canonicalize": True,
    "body_scale": 0.8,
    "root": "relative",
}


class ResolvedMotion(NamedTuple):
    """A motion whose skeleton and frame rate are settled: joints (T, J, 3), or (P, T, J, 3) of P persons; NumPy, or torch where
    they lie on another device than the CPU.
    """

    joints: Any
    skeleton: Skeleton
    fps: float


class MotionPatchProcessor(FeatureExtractionMixin):
    """Turns 3D human motion into motion patches (paper section 3.2), akin to an image processor.

    The path of a motion: resample to `fps` → canonical frame → (root-relative) → cut to `max_frames` → z-score and interpolation
    to 5·N sample points → pad to whole windows of N frames.

    The defaults here are those of the published form, so that its statistics and checkpoints fit. `across_skeletons` gives the
    settings that carry motion from one skeleton to another best; recipes start from them.

    Args:
        patch_size: N: sample points for each body part, and frames for each window.
        max_frames: Longest motion in frames at `fps`, a multiple of `patch_size`; `truncation` says what is kept of a
            longer one.
        fps: Frame rate of the patches.
        representation: `"patches"`, or `"joints"`: raw joint sequences (paper Table 4), one token a frame, with `patch_size=1`.
            Sample points are the joints themselves then, so that a model knows one skeleton only.
        interpolation: `"half_pixel"` (as the published code), `"align_corners"`, `"arc_length"` or `"landmarks"`; see
            `patches.sample_positions`.
        normalization: z-score per joint before the interpolation (`"joints"`), per sample point after it (`"points"`, the
            paper's text), or `None`.
        min_std: Standard deviations that `fit` finds are kept above this, in metres (in the unit of the joints, where the
            canonical frame leaves it), so that what hardly moves, and differs between skeletons all the same, is not blown up.
        per_skeleton: `fit` computes statistics for each skeleton; else shared ones only.
        statistics: `{skeleton name: {"mean", "std"}, "shared": {"mean", "std"}}`; of shape (J, 3) for `"joints"`, (5·N, 3)
            for `"points"`. `"shared"` is always per sample point, (5·N, 3), and serves skeletons that have no entry of their
            own. `fit` computes them.
        canonicalize: `True`, `False`, or a dict that switches single steps (`detect`, `unit`, `up_axis`, `floor`, `center`,
            `heading`) off; see `canonical.canonicalize`. `detect`: a motion that states neither unit nor up axis, and clearly is
            not in the unit or not along the up axis of its skeleton, is converted, with a warning; see `detection.check_frame`.
        body_scale: Scale every body to this leg length in metres; `None` keeps sizes. Applied also where `canonicalize` is
            off.
        resampling: `"antialias"` filters on the way to `fps`; `"repeat"` repeats or drops whole frames as the published code does
            for KIT-ML; see `resampling.resample`.
        root: `"global"` joints, or `"relative"` to the root of their own frame with the trajectory in the root joint alone.
        padding: `"max_length"` pads each motion to `max_frames`, `"longest"` to the longest of the call (in whole windows).
        truncation: Which `max_frames` frames of a longer motion are kept: `"start"`, `"center"`, `"random"`.
        return_attention_mask: Return `motion_attention_mask`.
        default_skeleton: Skeleton name of bare arrays for which a call names none.
        skeletons: Definitions (`Skeleton.to_dict`) of the user's own skeletons; `fit` adds those that it meets.

    Raises:
        ValueError: If an option has none of the values above.
    """

    model_input_names = ["motion_values", "motion_attention_mask"]  # noqa: RUF012 (the name and type are transformers')

    def __init__(
        self,
        patch_size: int = 16,
        max_frames: int = 224,
        fps: float = 20.0,
        representation: str = "patches",
        interpolation: str = "half_pixel",
        normalization: str | None = "joints",
        min_std: float = 0.001,
        per_skeleton: bool = True,
        statistics: Mapping[str, Mapping[str, Any]] | None = None,
        canonicalize: bool | Mapping[str, bool] = True,
        body_scale: float | None = None,
        resampling: str = "antialias",
        root: str = "global",
        padding: str = "max_length",
        truncation: str = "start",
        return_attention_mask: bool = True,
        default_skeleton: str | None = None,
        skeletons: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.max_frames = max_frames
        self.fps = fps
        self.representation = representation
        self.interpolation = interpolation
        self.normalization = normalization
        self.min_std = min_std
        self.per_skeleton = per_skeleton
        self.statistics = {name: check_statistics(name, entry) for name, entry in (statistics or {}).items()}
        self.canonicalize = canonicalize if isinstance(canonicalize, bool) else dict(canonicalize)
        self.body_scale = body_scale
        self.resampling = resampling
        self.root = root
        self.padding = padding
        self.truncation = truncation
        self.return_attention_mask = return_attention_mask
        self.default_skeleton = default_skeleton
        self.skeletons = {name: dict(definition) for name, definition in (skeletons or {}).items()}
        self._maps: dict[Any, tuple[Any, PatchMap]] = {}
        self._validate_options()

    @classmethod
    def across_skeletons(cls, **settings: Any) -> "MotionPatchProcessor":
        """A processor with the settings that carry motion across skeletons best, as measured in docs/robustness.md.

        Args:
            settings: Replace single ones, or add others.
        """
        return cls(**{**ACROSS_SKELETONS, **settings})

    def to_dict(self) -> dict[str, Any]:
        """What is saved."""
        maps, self._maps = self._maps, {}
        try:
            saved = super().to_dict()
        finally:
            self._maps = maps
        saved.pop("_maps", None)
        return saved

    def _validate_options(self) -> None:
        for option, choices in _CHOICES.items():
            _check_choice(option, getattr(self, option), choices)
        if self.patch_size < 1 or self.max_frames < self.patch_size or self.max_frames % self.patch_size:
            raise ValueError(
                f"max_frames={self.max_frames} must be a positive multiple of patch_size={self.patch_size}, as a window holds "
                f"{self.patch_size} frames"
            )
        if self.representation == "joints" and self.patch_size != 1:
            raise ValueError(f"representation='joints' is one token a frame and needs patch_size=1, got {self.patch_size}")
        if not np.isfinite(self.fps) or self.fps <= 0:
            raise ValueError(f"fps must be a positive number of frames per second, got {self.fps}")
        if not 0 < self.min_std < np.inf:
            raise ValueError(f"min_std must be above 0, in metres, got {self.min_std}")
        if self.body_scale is not None and not self.body_scale > 0:
            raise ValueError(f"body_scale must be a leg length in metres above 0, or None, got {self.body_scale}")
        if not isinstance(self.canonicalize, bool):
            unknown = sorted(set(self.canonicalize) - set(_CANONICAL_STEPS))
            if unknown:
                raise ValueError(f"canonicalize has unknown steps {unknown}; known: {', '.join(_CANONICAL_STEPS)}")
        if self.default_skeleton is not None:
            self.get_skeleton(self.default_skeleton)

    def get_skeleton(self, skeleton: str | Skeleton) -> Skeleton:
        """A skeleton by its name, among those saved with this processor and the named ones.

        Raises:
            ValueError: If no skeleton has that name.
        """
        if isinstance(skeleton, str) and skeleton in self.skeletons:
            return Skeleton(**self.skeletons[skeleton])
        return get_skeleton(skeleton)

    def __call__(
        self,
        motions: Any,
        skeleton: Any = None,
        fps: Any = None,
        return_tensors: str | None = None,
        padding: str | None = None,
        truncation: str | None = None,
        return_attention_mask: bool | None = None,
        generator: np.random.Generator | None = None,
    ) -> BatchFeature:
        """Motion patches of one motion or of a list of motions.

        Args:
            motions: A motion or a list of them. A motion is an array or tensor (T, J, 3) with at least two frames, the path
                of a motion file, a `Motion`, a dict with `joints` and optionally `skeleton`, `fps`, `unit` and `up_axis`
                (default: the skeleton's own), or a row of a motion data set, whose joints are flat, and in metres unless it has
                a `unit`. P persons who share a frame are one motion, a dict with `persons` = P and `joints` of shape
                (P, T, J, 3); all motions of a call then have P persons.
            skeleton: Name or `Skeleton` of the motions that do not say theirs; one, or one for each motion.
            fps: Frames per second of the motions that do not say theirs; one, or one for each motion. Where it stays unknown
                the target rate is assumed, with a warning.
            return_tensors: `"pt"`, `"np"` or `None` (NumPy). Motions on a GPU are worked on there, and so `"pt"` and `None` give
                tensors on that GPU.
            padding, truncation, return_attention_mask: Override the processor's own settings for this call.
            generator: Random state for `truncation="random"`.

        Returns:
            `motion_values` (B, 3, F, 5·N) float32, where rows are frames and columns sample points, N for each part in the
            order right leg, left leg, torso, right arm, left arm; and `motion_attention_mask` (B, F / N) int64, 1 where the
            window holds a real frame. Padding is zero. Of P persons: (B, P, 3, F, 5·N) and (B, P, F / N). With
            `representation="joints"` columns are joints: (B, 3, F, J) and (B, F).

        Raises:
            ValueError: For a motion of wrong shape, with too few frames or with values that are not finite, for an unknown
                skeleton or one with another number of joints, for a frame rate that is not positive, and where statistics
                are needed but there are none.
            TypeError: For something that is no motion.
        """
        prepared = [self.prepare(motion) for motion in self.resolve(motions, skeleton=skeleton, fps=fps)]
        return self.to_patches(prepared, return_tensors, padding, truncation, return_attention_mask, generator)

    def resolve(self, motions: Any, skeleton: Any = None, fps: Any = None) -> list[ResolvedMotion]:
        """Check motions and settle their skeletons and frame rates; arguments as in `__call__`."""
        motions = list(motions) if isinstance(motions, (list, tuple)) else [motions]
        if not motions:
            raise ValueError("got an empty list of motions; pass at least one")
        skeletons = one_per_motion("skeleton", skeleton, len(motions))
        rates = one_per_motion("fps", fps, len(motions))
        resolved: list[ResolvedMotion] = []
        unchecked: dict[Skeleton, list[int]] = {}
        unknown_rates = 0
        for index, (motion, own_skeleton, own_fps) in enumerate(zip(motions, skeletons, rates, strict=True)):
            given = read_input(motion, index)
            found = settle_skeleton(given, own_skeleton, index, self.get_skeleton, self.skeletons, self.default_skeleton)
            joints = given.joints
            if given.unit is not None and given.unit != found.unit:
                joints = joints * (UNITS[given.unit] / UNITS[found.unit])
            rate = settle_fps(given.fps, own_fps, index)
            unknown_rates += rate is None
            if given.up_axis is not None and given.up_axis != found.up_axis:
                joints = change_up_axis(joints, given.up_axis, found.up_axis)
            if given.unit is None and given.up_axis is None and self._step("detect"):
                unchecked.setdefault(found, []).append(index)
            resolved.append(ResolvedMotion(joints, found, self.fps if rate is None else rate))
        findings = [
            finding for found, indices in unchecked.items() for finding in fit_declared_frames(resolved, indices, found)
        ]
        if findings:
            warnings.warn(
                f"{len(findings)} of {len(motions)} motions do not fit what their skeleton declares: {'; '.join(findings[:3])}"
                f"{'; …' if len(findings) > 3 else ''}. Other motions of the same source may be wrong without a sign of it: "
                "state what is right ({'joints': …, 'unit': …, 'up_axis': …}), or set canonicalize={'detect': False}",
                stacklevel=3,
            )
        if unknown_rates:
            warnings.warn(
                f"{unknown_rates} of {len(motions)} motions say no frame rate and fps= was not given; they are taken as "
                f"{self.fps:g} frames per second",
                stacklevel=3,
            )
        return resolved

    def _step(self, step: str) -> bool:
        """Whether a step of the canonical frame is switched on."""
        return self.canonicalize if isinstance(self.canonicalize, bool) else self.canonicalize.get(step, True)

    def prepare(self, motion: ResolvedMotion) -> ResolvedMotion:
        """The motion at `fps`, its joints (T', J + V, 3) in the frame that the patches are made in."""
        joints = motion.joints
        if motion.fps != self.fps:
            joints = resample(joints, motion.fps, self.fps, self.resampling)
        switch = self.canonicalize
        steps = _SWITCHED[switch] if isinstance(switch, bool) else {step: self._step(step) for step in _SWITCHED[True]}
        joints = to_canonical_frame(joints, motion.skeleton, body_scale=self.body_scale, **steps)
        if self.root == "relative":
            joints = relative_to_root(joints, motion.skeleton)
        return ResolvedMotion(joints, motion.skeleton, self.fps)

    def to_patches(
        self,
        prepared: Sequence[ResolvedMotion],
        return_tensors: str | None = None,
        padding: str | None = None,
        truncation: str | None = None,
        return_attention_mask: bool | None = None,
        generator: np.random.Generator | None = None,
        warn: bool = True,
    ) -> BatchFeature:
        """Batch the outputs of `prepare`: cut to `max_frames`, normalise, interpolate, pad with zeros; see `__call__`.

        Motions that are cut are counted in a warning, unless `warn` is off because the caller counts them itself.

        Raises:
            ValueError: If the motions differ in the number of persons or lie on several devices, or a skeleton has no
                statistics and there are no shared ones.
        """
        padding = _check_choice("padding", padding or self.padding, _CHOICES["padding"])
        truncation = _check_choice("truncation", truncation or self.truncation, _CHOICES["truncation"])
        shapes = {tuple(motion.joints.shape[:-3]) for motion in prepared}
        places = {getattr(motion.joints, "device", "cpu") for motion in prepared}
        if len(shapes) > 1 or len(places) > 1:
            raise ValueError(
                f"the motions of one call must have equally many persons and lie on one device; got persons "
                f"{sorted(shape[0] if shape else 1 for shape in shapes)} on {sorted(map(str, places))}; call once for each"
            )
        lengths = [motion.joints.shape[-3] for motion in prepared]
        too_long = sum(length > self.max_frames for length in lengths)
        if warn and too_long and truncation != "random":  # a random crop is an augmentation that was asked for
            warnings.warn(self.describe_cut(too_long, len(prepared), truncation), stacklevel=3)
        kept = [min(length, self.max_frames) for length in lengths]
        longest = self.max_frames if padding == "max_length" else max(kept)
        windows = num_windows(longest, self.patch_size)
        persons = next(iter(shapes))
        shape = (len(prepared), *persons, 3, windows * self.patch_size, self._num_points(prepared))
        is_tensor = not isinstance(prepared[0].joints, np.ndarray)
        values: Any = prepared[0].joints.new_zeros(shape).float() if is_tensor else np.zeros(shape, dtype=np.float32)
        jobs, maps = [], {}
        for row, motion, length, whole in zip(values, prepared, kept, lengths, strict=True):
            start = self._start(whole, truncation, generator) if whole > length else 0
            kind = (motion.skeleton, motion.joints.dtype)
            if kind not in maps:
                maps[kind] = self._map_for(motion.skeleton, motion.joints)
            to_values = maps[kind]
            people = zip(row, motion.joints, strict=True) if persons else ((row, motion.joints),)
            jobs += [(place[:, :length], joints[start : start + length], to_values) for place, joints in people]
        fill_all(jobs)
        data: dict[str, Any] = {"motion_values": values}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            mask = window_mask(np.array(kept), windows, self.patch_size)
            if persons:
                mask = np.repeat(mask[:, None], persons[0], axis=1)
            data["motion_attention_mask"] = values.new_tensor(mask, dtype=int) if is_tensor else mask
        return BatchFeature(data, tensor_type=return_tensors)

    def _num_points(self, motions: Sequence[ResolvedMotion]) -> int:
        """Columns of `motion_values`."""
        if self.representation == "patches":
            return len(PARTS) * self.patch_size
        skeletons = {motion.skeleton for motion in motions}
        if len(skeletons) > 1:
            raise ValueError(
                f"representation='joints' takes motions of one skeleton, got {sorted(s.name for s in skeletons)}; raw joint "
                "sequences of several have no common form, motion patches do"
            )
        return next(iter(skeletons)).num_joints

    def _point_matrix(self, skeleton: Skeleton) -> np.ndarray:
        """The linear map from the joints of a frame to its sample points, (points, J + V)."""
        if self.representation == "joints":
            return np.eye(skeleton.num_joints, skeleton.num_nodes)
        return patch_matrix(skeleton, self.patch_size, self.interpolation)

    def _start(self, num_frames: int, truncation: str, generator: np.random.Generator | None) -> int:
        surplus = num_frames - self.max_frames
        if truncation == "start":
            return 0
        if truncation == "center":
            return surplus // 2
        return int((generator or np.random.default_rng()).integers(surplus + 1))

    def describe_cut(self, too_long: int, total: int, truncation: str) -> str:
        """The text of the warning that counts cut motions."""
        return (
            f"{too_long} of {total} motions are longer than max_frames={self.max_frames} ({self.max_frames / self.fps:g} s) and "
            f"were cut (truncation={truncation!r})"
        )

    def _map_for(self, skeleton: Skeleton, joints: Any) -> PatchMap:
        """Normalisation and interpolation of a skeleton in the precision and place of `joints`, kept for the next call."""
        source = self.statistics_for(skeleton)
        entry = None if source is None else self.statistics[source]
        settings = (self.patch_size, self.representation, self.interpolation, self.normalization)
        key = (skeleton, source, joints.dtype, getattr(joints, "device", None), settings)
        made_of, found = self._maps.get(key, (None, None))
        if found is None or made_of is not entry:
            exact = self._make_map(skeleton, source)
            found = PatchMap(*(None if part is None else like(part, joints) for part in exact))
            self._maps[key] = (entry, found)
        return found

    def _make_map(self, skeleton: Skeleton, source: str | None) -> PatchMap:
        matrix = self._point_matrix(skeleton)
        if source is None:
            return patch_map(matrix)
        mean, std = (np.asarray(self.statistics[source][key]) for key in ("mean", "std"))
        per_joint = self.normalization == "joints" and source != "shared"
        expected = skeleton.num_nodes if per_joint else len(matrix)
        if len(mean) != expected:
            raise ValueError(
                f"statistics of {source!r} hold {len(mean)} rows, but normalization={self.normalization!r} with patch_size="
                f"{self.patch_size} needs {expected}; fit the processor again"
            )
        return patch_map(matrix, mean, std, per_joint)

    def statistics_for(self, skeleton: str | Skeleton, warn: bool = True) -> str | None:
        """Which entry of `statistics` a skeleton is normalised with: its own name, `"shared"`, or `None` for none at all.

        With `warn`, taking the shared entry where other skeletons have their own is said in a warning.

        Raises:
            ValueError: If the processor normalises but has neither.
        """
        if self.normalization is None:
            return None
        name = self.get_skeleton(skeleton).name
        if name in self.statistics:
            return name
        if "shared" in self.statistics:
            if not warn or set(self.statistics) == {"shared"}:
                return "shared"
            warnings.warn(
                f"no statistics for skeleton {name!r} (have: {', '.join(sorted(self.statistics))}): using the shared ones; "
                "processor.fit(motions) on motions of that skeleton, which needs no labels, gives it its own",
                stacklevel=2,
            )
            return "shared"
        raise ValueError(
            f"no statistics for skeleton {name!r} (have: {', '.join(sorted(self.statistics)) or 'none'}); call "
            "processor.fit(training_motions) first, pass statistics=…, or set normalization=None"
        )

    def fit(
        self,
        motions: Iterable[Any],
        skeleton: Any = None,
        fps: Any = None,
        per_skeleton: bool | None = None,
        shared: bool | None = None,
    ) -> "MotionPatchProcessor":
        """Compute the statistics of the normalisation from motions; no labels are needed.

        Args:
            motions, skeleton, fps: As in `__call__`. Use training motions only: statistics over a test split are a leak.
            per_skeleton: Compute an entry for each skeleton met, replacing its old one. `None`: as the processor's own setting
                says, and always where there are shared statistics already: a later `fit` adapts to a new skeleton.
            shared: Compute the entry `"shared"` over all these motions. `None`: only if there is none yet, so that adding a
                target skeleton later leaves the training statistics as they were.

        Returns:
            The processor itself.

        Raises:
            ValueError: As in `__call__`; or if `normalization` is `None`, or nothing is asked for.
        """
        if self.normalization is None:
            raise ValueError("fit computes the statistics of a normalization, but normalization is None")
        per_skeleton = self.per_skeleton or "shared" in self.statistics if per_skeleton is None else per_skeleton
        shared = "shared" not in self.statistics if shared is None else shared
        if not (per_skeleton or shared):
            raise ValueError("fit has nothing to compute: per_skeleton is False and shared statistics exist or are off")
        own: dict[Skeleton, RunningMoments] = {}
        pooled = RunningMoments()
        resolved = self.resolve(motions if isinstance(motions, (list, tuple)) else list(motions), skeleton, fps)
        self._num_points(resolved)  # raises where they have no common form
        for motion in resolved:
            for joints in self._persons(motion):
                points = interpolate(joints, self._point_matrix(motion.skeleton))
                own.setdefault(motion.skeleton, RunningMoments()).add(joints if self.normalization == "joints" else points)
                pooled.add(points)
        for found, moments in own.items():
            self._remember(found)
            if per_skeleton:
                self.statistics[found.name] = moments.statistics(self.min_std)
        if shared:
            self.statistics["shared"] = pooled.statistics(self.min_std)
        return self

    def _persons(self, motion: ResolvedMotion) -> np.ndarray:
        """Joints of each person of a motion after `prepare`: (P, T', J + V, 3), float64."""
        joints = self.prepare(motion).joints
        return on_host(joints).reshape(-1, *joints.shape[-3:]).astype(np.float64, copy=False)

    def _remember(self, skeleton: Skeleton) -> None:
        if skeleton.name not in list_skeletons() or get_skeleton(skeleton.name) != skeleton:
            self.skeletons[skeleton.name] = skeleton.to_dict()


class MotionTextProcessor(ProcessorMixin):
    """A `MotionPatchProcessor` and a tokenizer in one; what `AutoProcessor` returns.

    Args:
        feature_extractor: The `MotionPatchProcessor`.
        tokenizer: Any tokenizer of transformers.
    """

    def __init__(self, feature_extractor: MotionPatchProcessor, tokenizer: Any, **kwargs: Any) -> None:
        super().__init__(feature_extractor, tokenizer, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> "MotionTextProcessor":
        """As everywhere in transformers; a folder without a tokenizer is a `ValueError` that says what to load instead."""
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        except ValueError as error:
            raise ValueError(
                f"{str(pretrained_model_name_or_path)!r} gives no processor with a tokenizer; of a classifier or a motion tower "
                f"alone, which have none, AutoFeatureExtractor loads the processor. ({error})"
            ) from error

    def __call__(
        self,
        motions: Any = None,
        text: str | list[str] | None = None,
        skeleton: Any = None,
        fps: Any = None,
        return_tensors: str | None = None,
        motion_padding: str | None = None,
        **text_kwargs: Any,
    ) -> BatchFeature:
        """Inputs of `MotionPatchesModel` for motions, text, or both.

        Args:
            motions, skeleton, fps: As in `MotionPatchProcessor`.
            text: A text or a list of texts, none of them empty.
            return_tensors: `"pt"`, `"np"` or `None`.
            motion_padding: `"max_length"` or `"longest"` for the motions; default is the motion processor's own setting.
            text_kwargs: For the tokenizer, by name or as one dict `text_kwargs=`. `padding` and `truncation` mean the text.

        Returns:
            `motion_values` and `motion_attention_mask` where motions are given, `input_ids` and `attention_mask` (B, L) where
            text is given.

        Raises:
            ValueError: If neither is given, a text is empty, or a text is longer than the tokenizer's limit and `truncation`
                was not asked for.
            TypeError: For an argument that the tokenizer does not have, or that is given twice.
        """
        if motions is None and text is None:
            raise ValueError("pass motions=…, text=…, or both")
        data: dict[str, Any] = {}
        if text is not None:
            data.update(self._tokenize(text, return_tensors, self._check_text_kwargs(text_kwargs)))
        elif text_kwargs:
            raise ValueError(
                f"unexpected arguments {sorted(text_kwargs)}: they are for the tokenizer, but text= was not given"
            )
        if motions is not None:
            features = self.feature_extractor(motions, skeleton, fps, return_tensors=return_tensors, padding=motion_padding)
            data.update(features)
        return BatchFeature(data, tensor_type=return_tensors)

    def _check_text_kwargs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments for the tokenizer, which itself drops in silence what it does not know."""
        nested = dict(given.get("text_kwargs") or {})
        flat = {name: value for name, value in given.items() if name != "text_kwargs"}
        twice = sorted(nested.keys() & flat.keys())
        if twice:
            raise TypeError(f"{', '.join(twice)} given twice, by name and in text_kwargs; drop one of the two")
        known = {name for name in inspect.signature(self.tokenizer.__call__).parameters if name not in ("text", "kwargs")}
        unknown = sorted({*nested, *flat} - known)
        if unknown:
            raise TypeError(
                f"unexpected arguments {unknown}; known are motions, text, skeleton, fps, return_tensors, motion_padding, and "
                f"those of the tokenizer: {', '.join(sorted(known))}"
            )
        return {**nested, **flat}

    def _tokenize(self, text: str | list[str], return_tensors: str | None, text_kwargs: dict[str, Any]) -> dict[str, Any]:
        texts = [text] if isinstance(text, str) else list(text)
        if not texts:
            raise ValueError("got an empty list of texts; pass at least one")
        for index, item in enumerate(texts):
            if not isinstance(item, str):
                raise TypeError(f"text {index} is a {type(item).__name__}, expected str: {item!r}")
            if not item.strip():
                raise ValueError(f"text {index} is empty; a caption needs at least one word")
        text_kwargs = {"return_token_type_ids": False, **text_kwargs}
        limit = self.tokenizer.model_max_length
        if not text_kwargs.get("truncation"):
            lengths = [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]
            too_long = sum(length > limit for length in lengths)
            if too_long:
                raise ValueError(
                    f"{too_long} of {len(texts)} texts are longer than the tokenizer's limit of {limit} tokens (longest: "
                    f"{max(lengths)}); shorten them, or pass truncation=True to cut them"
                )
        return dict(self.tokenizer(texts if return_tensors else text, return_tensors=return_tensors, **text_kwargs))


def _check_choice(option: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{option}={value!r} is unknown; choose one of {', '.join(map(repr, choices))}")
    return value


MotionPatchProcessor.register_for_auto_class("AutoFeatureExtractor")
MotionTextProcessor.register_for_auto_class("AutoProcessor")
