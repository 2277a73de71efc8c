"""Sets how torch's threads behave beside the other work of this machine.

Parsing, OCR, the server.
"""

from __future__ import annotations

import os

from services.settings import Settings

WAIT_POLICY = "PASSIVE"
"""OpenMP threads that wait for each other sleep instead of spinning.

Source: measured on two shared cores with bfloat16, 209 tokens a chunk: 3.7 chunks per CPU second, and 1.0 to 1.6 with
the default, which burns the time that OCR and the server need. (An idle machine was not measured.)
"""


def prepare_torch(settings: Settings) -> None:
    """Imports torch with the wait policy and the number of threads.

    Call it before anything else imports torch.

    OpenMP reads its policy from the environment only, once, when torch loads it. One that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", WAIT_POLICY)
    import torch

    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
