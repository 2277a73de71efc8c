"""Runs RapidOCR's networks, from the files of its wheel.

Where text stands, which way up it is, and what it says.

Detection is RapidOCR's own. Recognition runs its model line by line here, because two things are wanted that RapidOCR
does not give: how likely a space is between two letters, and letters of the asked alphabets only. Nothing is
downloaded: the models' paths are given, so that RapidOCR does not look for them.

Source: PP-OCRv6 (small) and the classifier of PP-OCRv2, github.com/PaddlePaddle/PaddleOCR; both Apache-2.0.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Corners = NDArray[np.float32]
    """Four points (x, y) of a line of text, in pixels: top left, top right, bottom right, bottom left of its writing,
    `float32[4, 2]`."""

_DETECTION, _RECOGNITION, _DIRECTION = (
    "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx", "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
)  # fmt: skip

_LINE_HEIGHT, _DIRECTION_WIDTH = 48, 192
"""Pixels of the strips that the two networks for lines were trained on."""

_MIN_STRIP, _MAX_STRIP = 32, 3200
"""Pixels of a strip's width; a longer line is squeezed, which bounds the memory of a run (measured: 100 MB at 3200)."""

_SPACE_LIKELY = 0.1
"""Probability of a space between two letters from which one is put there although none is the likeliest reading.

Source: measured on 15 receipts and 13 forms, word F1 .954 and .914 at .5, .957 and .917 at .3, .958 and .917 at .1,
.950 and .915 at .01.
"""

_BLANK = 0

LATIN = (
    "afr", "aze", "bos", "cat", "ces", "cym", "dan", "deu", "eng", "est", "eus", "fin", "fra", "gle", "glg", "hrv",
    "hun", "ind", "isl", "ita", "lat", "lav", "lit", "mlt", "msa", "nld", "nor", "oci", "pol", "por", "ron", "slk",
    "slv", "spa", "sqi", "swa", "swe", "tur",
)  # fmt: skip
HAN = ("chi_sim", "chi_tra", "jpn")
"""Languages that PP-OCRv6 was trained on, in Tesseract's codes. Source: PaddleOCR's list of models; that the letters
of each are among the model's own is tested."""


@dataclass(frozen=True, slots=True)
class RapidOcrInstall:
    """A RapidOCR that is installed with the models that are known here."""

    version: str
    models: Path
    """Folder of the models."""


def find_rapidocr() -> RapidOcrInstall | None:
    """The installed RapidOCR, or None where it, its runtime or a model is missing.

    Nothing is loaded.
    """
    found = find_spec("rapidocr")
    if found is None or found.origin is None or find_spec("onnxruntime") is None or find_spec("cv2") is None:
        return None
    models = Path(found.origin).parent / "models"
    if not all((models / name).is_file() for name in (_DETECTION, _RECOGNITION, _DIRECTION)):
        return None
    try:
        return RapidOcrInstall(version("rapidocr"), models)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that was recognised.

    `at` is where its middle stands on the line, from 0 (left) to 1.
    """

    text: str
    confidence: float
    at: float


class RapidOcrModels:
    """The three networks, loaded when they are first needed.

    For one thread; each run takes one thread of its own.
    """

    def __init__(self, install: RapidOcrInstall) -> None:
        self._install = install
        self._detector: Any = None
        self._direction: Any = None
        self._recogniser: Any = None
        self._characters: list[str] = []
        self._latin: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def detect(self, page: Gray) -> list[Corners]:
        """The lines of text on `page`, a gray page of any size, in no order that matters."""
        import cv2

        if self._detector is None:
            cv2.setNumThreads(1)
            self._detector = self._open_detector()
        found = self._detector(cv2.cvtColor(page, cv2.COLOR_GRAY2BGR), use_det=True, use_cls=False, use_rec=False)
        boxes = getattr(found, "boxes", None)
        # RapidOCR cuts the corners' coordinates off to whole pixels. Source: measured, word F1 of 10 forms in small
        # print .920 without and .926 with the half pixel that this costs on average.
        return [] if boxes is None else [np.asarray(box, dtype=np.float32) + 0.5 for box in boxes]

    def _open_detector(self) -> Any:
        from rapidocr import RapidOCR

        models = self._install.models
        return RapidOCR(
            params={
                "Global.log_level": "critical",
                "Det.model_path": str(models / _DETECTION),
                "Cls.model_path": str(models / _DIRECTION),
                "Rec.model_path": str(models / _RECOGNITION),
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def is_upside_down(self, line: Gray) -> bool | None:
        """Whether the writing on `line` stands on its head.

        None where the network is not sure.
        """
        if self._direction is None:
            self._direction = _session(self._install.models / _DIRECTION)
        strip = _strip(line, _DIRECTION_WIDTH)
        upright, turned = _run(self._direction, strip)[0]
        return None if max(upright, turned) < 0.9 else bool(turned > upright)

    def recognise(self, line: Gray, *, latin_only: bool) -> list[Letter]:
        """The letters and spaces on `line` from left to right.

        With `latin_only`, none of another script.
        """
        if self._recogniser is None:
            self._recogniser = _session(self._install.models / _RECOGNITION)
            facts = self._recogniser.get_modelmeta().custom_metadata_map
            self._characters = ["", *facts["character"].splitlines(), " "]
            self._latin = np.array([is_latin(text) for text in self._characters])
        strip = _strip(line, _MAX_STRIP)
        odds: NDArray[np.float32] = _run(self._recogniser, strip)[0]
        if latin_only:
            odds = odds * self._latin
        width = _strip_width(line, _MAX_STRIP)
        return decode(odds, self._characters, strip.shape[3] / (len(odds) * width))

    def characters(self) -> frozenset[str]:
        """Every character that can be recognised."""
        self.recognise(np.full((_LINE_HEIGHT, _MIN_STRIP), 255, np.uint8), latin_only=False)
        return frozenset(self._characters)


def is_latin(text: str) -> bool:
    """True for what stands in text of a Latin script: its letters, digits, ASCII, currencies, usual punctuation."""
    if text.isascii():
        return True
    name = unicodedata.name(text[0], "")
    if unicodedata.category(text[0]).startswith("L"):
        return name.startswith("LATIN") or text in "ªºµ"
    return ord(text[0]) < 0x2190 and not name.startswith(("GREEK", "FULLWIDTH"))


def decode(odds: NDArray[np.float32], characters: Sequence[str], step: float) -> list[Letter]:
    """The likeliest letters of `odds`, `float32[steps, characters]`.

    A step takes the share `step` of the line.

    The same letter twice needs a blank between. Source: connectionist temporal classification, Graves et al. 2006,
    section 3.2, best path.
    """
    best = odds.argmax(axis=1)
    space = len(characters) - 1
    letters: list[Letter] = []
    between, last = 0.0, _BLANK
    for number, index in enumerate(best.tolist()):
        if index == _BLANK:
            between = max(between, float(odds[number, space]))
        elif index != last:
            at = (number + 0.5) * step
            if index == space or between > _SPACE_LIKELY:
                letters.append(Letter(" ", 1.0, at))
            if index != space:
                letters.append(Letter(characters[index], min(1.0, float(odds[number, index])), at))
            between = 0.0
        last = index
    return letters


def cut_out(page: Gray, corners: Corners) -> Gray:
    """The part of `page` inside `corners` as a rectangle whose top left is the first of them."""
    import cv2

    width, height = (max(2, round(side)) for side in sides(corners))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    cut = cv2.warpPerspective(page, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC)
    return np.asarray(cut, dtype=np.uint8)


def sides(corners: Corners) -> tuple[float, float]:
    """(length along the writing, height across it) of a line, pixels."""
    along, across = corners[[1, 2]] - corners[[0, 3]], corners[[3, 2]] - corners[[0, 1]]
    return float(np.hypot(*along.T).max()), float(np.hypot(*across.T).max())


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Without the arena each run gives back what it took: lines differ in length, and the arena keeps the longest.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(session: Any, strip: NDArray[np.float32]) -> Any:
    return session.run(None, {session.get_inputs()[0].name: strip})[0]


def _strip_width(line: Gray, most: int) -> int:
    return int(min(most, max(1, -(-_LINE_HEIGHT * line.shape[1] // line.shape[0]))))


def _strip(line: Gray, most: int) -> NDArray[np.float32]:
    """`line` as the networks take it: `float32[1, 3, 48, width]` from -1 to 1, gray in the middle behind its end."""
    import cv2

    width = _strip_width(line, most)
    strip = np.zeros((1, 3, _LINE_HEIGHT, max(width, most if most == _DIRECTION_WIDTH else _MIN_STRIP)), np.float32)
    strip[:, :, :, :width] = cv2.resize(line, (width, _LINE_HEIGHT)).astype(np.float32) / 127.5 - 1
    return strip
