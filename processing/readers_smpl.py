"""SMPL, SMPL-H and SMPL-X pose parameters (AMASS and others) and the user's own body model → a `Recording`.

The joints of these models are their rest joints, which depend on the shape, turned by the poses along the tree (Loper et al.,
"SMPL: A Skinned Multi-Person Linear Model", 2015, equations 8 to 10). Neither skin nor hands are needed for the 22 joints of the
body, and so the model's mesh is never posed.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .npz_files import NpzReader
from .recording import ReadOptions, Recording
from .skeletons import get_skeleton


# Joints of each family; the first 22 are those of `smpl22` in all of them. Shape directions come before those of the face.
_FAMILY_OF_JOINTS = {24: "smpl", 52: "smplh", 55: "smplx"}
_FAMILY_OF_WIDTH = {3 * joints: family for joints, family in _FAMILY_OF_JOINTS.items()}
_NUM_JOINTS = 22
_MAX_SHAPE_COEFFICIENTS = 300
_GENDERS = ("neutral", "female", "male")
_CHUNK = 2**12  # frames
_WEBSITES = "smpl.is.tue.mpg.de (SMPL), mano.is.tue.mpg.de (SMPL-H, which AMASS has), smpl-x.is.tue.mpg.de (SMPL-X)"
_CONVERT = (
    "unpickling can run code, so .pkl models are not read; convert one that you trust, once, where its libraries are installed: "
    "np.savez('model.npz', v_template=m['v_template'], shapedirs=np.array(m['shapedirs']), "
    "J_regressor=m['J_regressor'].toarray(), kintree_table=m['kintree_table']) of m = pickle.load(file, encoding='latin1')"
)


def is_smpl(keys: Set[str]) -> bool:
    """Whether the keys of an `.npz` file are those of SMPL pose parameters."""
    return "poses" in keys or bool({"root_orient", "global_orient"} & keys and {"pose_body", "body_pose"} & keys)


def read_smpl(path: Path, options: ReadOptions) -> Recording:
    """Read SMPL, SMPL-H or SMPL-X pose parameters.

    Args:
        path: An `.npz` file with rotation vectors: `poses` of shape (T, 72 | 156 | 165 or 66), or `root_orient` (T, 3) and
            `pose_body` (T, 63), or `global_orient` and `body_pose`. Optionally `trans` or `transl` (T, 3), `betas`, `gender`,
            and `mocap_framerate`, `mocap_frame_rate` or `fps`.
        options: `body_model`: an `.npz` file with the body model of the same family, or a folder with
            `smplh/SMPLH_FEMALE.npz` (as for `smplx.create`) or `smplh/female/model.npz` (as AMASS's model comes).

    Returns:
        The 22 joints of the body in metres, skeleton `smpl22`. AMASS is z up; other files do not say. Rotations are the
        orientations of the joints in the world.

    Raises:
        ValueError: If no body model is given, it is pickled, damaged or of another family, or the parameters are damaged.
        FileNotFoundError: If there is no body model at the path.
    """
    parameters = _read_parameters(path)
    if options.body_model is None:
        raise ValueError(
            f"{path}: holds pose parameters of {parameters.family or 'SMPL, SMPL-H or SMPL-X'} (gender {parameters.gender}), and "
            "joints follow from them by a body model, which its licence keeps out of this package; get one at "
            f"{_WEBSITES}, and pass its .npz file or folder as body_model=..."
        )
    model = _find_model(Path(options.body_model), parameters)
    body = _load_body(model, model.stat().st_mtime_ns, model.stat().st_size)
    if parameters.family not in (None, body.family):
        raise ValueError(
            f"{path}: has poses of {parameters.family}, but the body model {model} is of {body.family}, whose shapes differ; "
            f"pass a body model of {parameters.family}"
        )
    rest = _rest_joints(body, parameters)
    positions, rotations = _forward_kinematics(rest, parameters)
    skeleton = get_skeleton("smpl22")
    return Recording(
        skeleton.joint_names,
        positions,
        skeleton.parents,
        fps=parameters.fps,
        unit="metres",
        up_axis="z" if parameters.is_amass else None,
        rotations=rotations,  # without the rest pose, which is y up in every file and would be taken for the axis of the motion
        skeleton=skeleton,
        notes=parameters.notes,
    )


# ---- parameters ---------------------------------------------------------------------------------------------------------


@dataclass
class _Parameters:
    """Poses (T, 66), way of the root (T, 3), shape (B,); family and gender where the file says."""

    poses: np.ndarray
    trans: np.ndarray
    betas: np.ndarray
    gender: str = "neutral"
    fps: float | None = None
    family: str | None = None
    is_amass: bool = False
    notes: list[str] = field(default_factory=list)


def _read_parameters(path: Path) -> _Parameters:
    with NpzReader(path) as archive:
        family, width = _family(archive)
        poses = _read_poses(archive)
        notes = []
        if width > poses.shape[1]:
            notes.append(
                f"left out the {(width - poses.shape[1]) // 3} joints of hands and face, which are not in skeleton 'smpl22'"
            )
        parameters = _Parameters(poses, np.zeros((len(poses), 3), np.float32), np.zeros(0), family=family, notes=notes)
        trans = _first_key(archive, "trans", "transl")
        if trans is None:
            notes.append("no key 'trans': the root stays in one place")
        else:
            parameters.trans = archive.read(trans, columns=3)
            if len(parameters.trans) != len(poses):
                raise ValueError(
                    f"{path}: {len(poses)} frames of poses, but {len(parameters.trans)} of {trans!r}; save it again"
                )
        if "betas" in archive.keys:
            parameters.betas = _mean_betas(archive, len(poses), notes)
        else:
            notes.append("no key 'betas': the joints are those of the mean body")
        parameters.gender = _read_gender(archive, notes)
        rate = _first_key(archive, "mocap_framerate", "mocap_frame_rate", "fps")
        if rate is not None:
            parameters.fps = _number(archive, rate)
        parameters.is_amass = bool({"mocap_framerate", "mocap_frame_rate"} & archive.keys)
    return parameters


def _first_key(archive: NpzReader, *names: str) -> str | None:
    return next((name for name in names if name in archive.keys), None)


def _family(archive: NpzReader) -> tuple[str | None, int]:
    """What the poses are of, and their number of values a frame."""
    if "poses" in archive.keys:
        shape = archive.shape("poses")
        width = int(np.prod(shape[1:], dtype=object)) if shape else 0
        if len(shape) < 2 or len(shape) > 3 or width not in (66, *_FAMILY_OF_WIDTH):
            raise ValueError(
                f"{archive.path}, key 'poses': has shape {shape}; expected rotation vectors of shape (T, 72) (SMPL), (T, 156) "
                "(SMPL-H), (T, 165) (SMPL-X) or (T, 66); Rotation.from_matrix(...).as_rotvec() of SciPy makes them of matrices"
            )
        return _FAMILY_OF_WIDTH.get(width), width
    body = archive.shape(str(_first_key(archive, "pose_body", "body_pose")))
    if int(np.prod(body[1:], dtype=object)) == 69:
        return "smpl", 72
    if {"pose_jaw", "pose_eye", "jaw_pose", "leye_pose", "reye_pose", "expression"} & archive.keys:
        return "smplx", 165
    return ("smplh", 156) if {"pose_hand", "left_hand_pose", "right_hand_pose"} & archive.keys else (None, 66)


def _read_poses(archive: NpzReader) -> np.ndarray:
    """Rotation vectors of the 22 joints, shape (T, 66), float32."""
    if "poses" in archive.keys:
        return archive.read("poses", columns=3 * _NUM_JOINTS)
    root_key = str(_first_key(archive, "root_orient", "global_orient"))
    body_key = str(_first_key(archive, "pose_body", "body_pose"))
    for key, widths in ((root_key, (3,)), (body_key, (63, 69))):
        shape = archive.shape(key)
        if len(shape) < 2 or int(np.prod(shape[1:], dtype=object)) not in widths:
            raise ValueError(
                f"{archive.path}, key {key!r}: has shape {shape}; expected rotation vectors of shape "
                f"(T, {' or '.join(map(str, widths))})"
            )
    root, body = archive.read(root_key, columns=3), archive.read(body_key, columns=63)
    if len(root) != len(body):
        raise ValueError(
            f"{archive.path}: {len(root)} frames of {root_key!r}, but {len(body)} of {body_key!r}; save it again"
        )
    return np.concatenate([root, body], axis=1)


def _mean_betas(archive: NpzReader, num_frames: int, notes: list[str]) -> np.ndarray:
    betas = archive.read("betas")
    if betas.ndim not in (1, 2) or betas.dtype.kind not in "fiu" or (betas.ndim == 2 and len(betas) not in (1, num_frames)):
        raise ValueError(
            f"{archive.path}, key 'betas': has shape {betas.shape} and dtype {betas.dtype}; expected floats of shape (B,) or "
            "(T, B)"
        )
    betas = np.atleast_2d(betas).astype(np.float64)
    if betas.shape[1] > _MAX_SHAPE_COEFFICIENTS or not np.all(np.isfinite(betas)):
        raise ValueError(
            f"{archive.path}, key 'betas': {betas.shape[1]} values, {np.count_nonzero(~np.isfinite(betas))} of them NaN or "
            f"infinite; expected at most {_MAX_SHAPE_COEFFICIENTS} finite ones"
        )
    if len(betas) > 1 and np.ptp(betas, axis=0).max(initial=0.0) > 1e-4:
        notes.append("the shape changes from frame to frame; took its mean, as a person has one")
    return betas.mean(axis=0)


def _read_gender(archive: NpzReader, notes: list[str]) -> str:
    if "gender" in archive.keys:
        try:
            found = archive.read("gender")
            gender = str(found.item().decode("ascii") if found.dtype.kind == "S" else found.item()).strip("b'\"").lower()
        except ValueError:  # some files have it as a Python object, and some are damaged
            gender = ""
        if gender in _GENDERS:
            return gender
        notes.append(f"key 'gender' is none of {', '.join(_GENDERS)}; took neutral")
    return "neutral"


def _number(archive: NpzReader, key: str) -> float:
    found = archive.read(key)
    if found.size != 1 or found.dtype.kind not in "fiu" or not 0 < float(found.item()) < np.inf:
        raise ValueError(f"{archive.path}, key {key!r}: expected one number of frames per second above 0; save it again")
    return float(found.item())


# ---- body model ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Body:
    """The 22 rest joints (22, 3) of the mean shape, in metres, and how they move with each shape coefficient (22, 3, S)."""

    family: str
    joints: np.ndarray
    directions: np.ndarray


def _find_model(path: Path, parameters: _Parameters) -> Path:
    """The file of a body model, itself or in a folder."""
    if path.is_dir():
        path = _find_in_folder(path, parameters)
    if not path.exists():
        raise FileNotFoundError(f"no body model at {path}; pass an .npz file or a folder as body_model=...")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file; pass the .npz file of a body model")
    with path.open("rb") as stream:
        pickled = stream.read(1) == b"\x80" or path.suffix.lower() == ".pkl"
    if pickled:
        raise ValueError(f"{path}: {_CONVERT}")
    return path


def _find_in_folder(folder: Path, parameters: _Parameters) -> Path:
    """The `.npz` file, or else the `.pkl` file, in one of the layouts that people have."""
    gender = parameters.gender
    places = []
    for family in [parameters.family] if parameters.family else _FAMILY_OF_JOINTS.values():
        name = f"{family.upper()}_{gender.upper()}.npz"
        places += [f"{family}/{name}", name, f"{family}/{gender}/model.npz"]
    tries = [folder / place for place in (*places, f"{gender}/model.npz")]
    found = next((file for file in (*tries, *(file.with_suffix(".pkl") for file in tries)) if file.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"no body model for gender {gender!r} in {folder}: none of "
            f"{', '.join(str(file.relative_to(folder)) for file in tries)}; pass the file itself as body_model=..."
        )
    return found


@lru_cache(maxsize=8)
def _load_body(path: Path, changed: int, size: int) -> _Body:
    """The joints of a body model; `changed` and `size` are those of the file, so that another one is read anew."""
    with NpzReader(path) as archive:
        absent = sorted({"v_template", "shapedirs", "J_regressor", "kintree_table"} - archive.keys)
        if absent:
            raise ValueError(f"{path}: is no SMPL body model: it has no {', '.join(absent)}; get one at {_WEBSITES}")
        regressor = archive.read("J_regressor")
        tree = archive.read("kintree_table")
        family = _FAMILY_OF_JOINTS.get(regressor.shape[0]) if regressor.ndim == 2 else None
        template, directions = archive.read("v_template"), archive.read("shapedirs")
    num_vertices = regressor.shape[-1] if family else 0
    if (
        family is None
        or template.shape != (num_vertices, 3)
        or directions.ndim != 3
        or directions.shape[:2] != template.shape
        or any(array.dtype.kind not in "fiu" for array in (regressor, template, directions, tree))
        or tree.ndim != 2
        or len(tree) == 0
    ):
        raise ValueError(
            f"{path}: is no SMPL body model: J_regressor, v_template and shapedirs have shapes {regressor.shape}, "
            f"{template.shape} and {directions.shape}; expected (24 | 52 | 55, V), (V, 3) and (V, 3, S); get one at {_WEBSITES}"
        )
    parents = get_skeleton("smpl22").parents
    if tuple(tree[0, 1:_NUM_JOINTS].tolist()) != parents[1:]:  # that of the root is stored as 4294967295
        raise ValueError(f"{path}: is no SMPL body model: its kintree_table is another tree; get one at {_WEBSITES}")
    # As in smplx: SMPL-X has 10 + 10 or 300 + 100 directions, those of the face last.
    count = 10 if family == "smplx" and directions.shape[2] == 20 else min(directions.shape[2], _MAX_SHAPE_COEFFICIENTS)
    regressor = regressor[:_NUM_JOINTS].astype(np.float64)
    with np.errstate(all="ignore"):
        moved = np.tensordot(regressor, directions[..., :count].astype(np.float64), axes=1)
        joints = regressor @ template
    if not (np.all(np.isfinite(joints)) and np.all(np.isfinite(moved))):
        raise ValueError(f"{path}: the body model holds NaN or infinite values; get it again at {_WEBSITES}")
    return _Body(family, joints, moved)


def _rest_joints(body: _Body, parameters: _Parameters) -> np.ndarray:
    """Joints of this shape with all rotations zero, shape (22, 3), metres."""
    count = min(len(parameters.betas), body.directions.shape[2])
    cut = int(np.count_nonzero(parameters.betas[count:]))
    if cut:
        parameters.notes.append(f"left out {cut} shape coefficients that the body model has no directions for")
    return body.joints + body.directions[..., :count] @ parameters.betas[:count]


def _forward_kinematics(rest: np.ndarray, parameters: _Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, 22, 3) and world orientations (T, 22, 4), float32; NaN in frames whose parameters are not finite."""
    parents = get_skeleton("smpl22").parents
    positions = np.empty((len(parameters.poses), _NUM_JOINTS, 3), dtype=np.float32)
    rotations = np.empty((len(parameters.poses), _NUM_JOINTS, 4), dtype=np.float32)
    num_bad = 0
    for start in range(0, len(positions), _CHUNK):
        frames = slice(start, start + _CHUNK)
        bad = ~(np.isfinite(parameters.poses[frames]).all(axis=1) & np.isfinite(parameters.trans[frames]).all(axis=1))
        num_bad += int(bad.sum())
        vectors = np.where(bad[:, None], 0.0, parameters.poses[frames].astype(np.float64)).reshape(-1, _NUM_JOINTS, 3)
        places, turns = [rest[0] + parameters.trans[frames]], [Rotation.from_rotvec(vectors[:, 0])]
        for joint in range(1, _NUM_JOINTS):
            parent = parents[joint]
            places.append(places[parent] + turns[parent].apply(rest[joint] - rest[parent]))
            turns.append(turns[parent] * Rotation.from_rotvec(vectors[:, joint]))
        positions[frames] = np.stack(places, axis=1)
        rotations[frames] = np.stack([turn.as_quat() for turn in turns], axis=1)
        positions[frames][bad] = rotations[frames][bad] = np.nan
    if num_bad:
        parameters.notes.append(
            f"{num_bad} of {len(positions)} frames hold NaN or infinite parameters, and count as missing"
        )
    return positions, rotations
