"""Maps the repository's top-level folders into one import package, `motionpatches`.

`processing` and `training` are too generic to be top-level import names: they would collide with folders of a user's own
project.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


ROOT = Path(__file__).parent
# Kept at the root, where people look for them, and copied into the package so that an installed wheel has them too.
ROOT_DATA = ("hub_card.md", *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("metrics/*/*.py"))))


class BuildWithRootData(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # a checkout finds the originals at the root
            return
        for name in ROOT_DATA:
            target = Path(self.build_lib) / "motionpatches" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


REQUIRES = [
    "accelerate>=1.15",
    "datasets>=5.0",
    "evaluate>=0.4.6",
    "huggingface_hub>=2.0",
    "matplotlib>=3.8",
    "numpy>=1.26",
    "pybvh>=0.9,<0.10",
    "pygltflib>=1.16",
    "pyyaml>=6.0",
    "safetensors>=0.5",
    "scipy>=1.11",
    "timm>=1.0.20",
    "tokenizers>=0.22",
    "torch>=2.6",
    "torchvision>=0.21",
    "tqdm>=4.66",
    "transformers>=5.23,<6",
    "typer>=0.15",
]
EXTRAS = {
    "lora": ["peft>=0.17"],
    "video": ["av>=14"],
    "pages": ["plotly>=6"],
    "search": ["faiss-cpu>=1.10"],
    "app": ["gradio>=6.31,<7", "plotly>=6", "faiss-cpu>=1.10"],
    "docs": ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1.0"],
    "captioning": ["pycocoevalcap>=1.2"],
    "bench": ["opencv-python-headless>=4.8"],
    "sentences": ["sentence-transformers>=5"],
    "onnx": ["onnx>=1.19", "onnxscript>=0.5", "onnxruntime>=1.22"],
    "tensorboard": ["tensorboard>=2.16"],
    "wandb": ["wandb>=0.19"],
    "test": [
        "pytest>=8",
        "pytest-timeout>=2.3",
        "hypothesis>=6.100",
        "ezc3d>=1.5",
        "psutil>=5.9",
        "tensorboard>=2.16",
        "playwright>=1.50",
    ],
}
EXTRAS["test"] += [
    library
    for name in ("onnx", "wandb", "sentences", "lora", "video", "search", "pages", "captioning", "app")
    for library in EXTRAS[name]
]
# smplx is what the reader of SMPL parameters is compared with. Its licence is non-commercial: developers only.
EXTRAS["dev"] = [
    *EXTRAS["test"],
    *EXTRAS["docs"],
    "parameterized>=0.9",
    "smplx>=0.1.28",
    "build>=1.2",
    "mypy>=1.15",
    "ruff>=0.11",
]
EXTRAS["dev"] += ["types-PyYAML", "scipy-stubs", "types-tqdm"]

setup(
    name="motionpatches",
    version="0.1.0.dev0",
    description="3D human motion and language in one embedding space, in the Hugging Face idiom",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={
        "motionpatches": "modeling_motionpatches",
        "motionpatches.processing": "processing",
        "motionpatches.training": "training",
    },
    packages=["motionpatches", "motionpatches.processing", "motionpatches.training"],
    package_data={"motionpatches": ["py.typed"], "motionpatches.training": ["recipes/*.yaml", "reproductions/*.yaml"]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["motionpatches = motionpatches.training.cli:main"]},
    cmdclass={"build_py": BuildWithRootData},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
