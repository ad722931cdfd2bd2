"""Making the picture of a row on diffusers, with what the rows before it have left warm."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checkpoints import CheckpointError
from ..exemplar import Banks, Exemplar
from ..label_maps import LabelMap
from ..matching import Route, Routing
from ..picture_files import read_rgb
from ..pictures import triplet
from ..result_folder import RESULT, TRIPLET
from .model import Model
from .plan import Row
from .running import Outcome

logger = logging.getLogger(__name__)

BANK_BYTES = 4 << 30


class Synthesiser:
    """One worker's model, with the exemplar it looked at last and that exemplar's keys and values.

    A row's picture is the same whatever was made before it.

    :param root: folder that the rows' paths start from.
    :param bank_bytes: of keys and values kept at most; those of SD1.5 at 512 x 512 take some 46 MB a step in fp16.
    :param triplets: draw exemplar, target and result side by side as well.
    """

    def __init__(self, model: Model, device: str, root: Path, *, bank_bytes: int = BANK_BYTES, triplets: bool = False):
        self.pipeline = model.load(device)
        self.root, self.triplets = Path(root), triplets
        self.banks = Banks(bank_bytes)
        self._known: tuple[Any, Exemplar, Image.Image] | None = None

    def attempt(self, row: Row) -> Outcome:
        """Make a row; whatever goes wrong is told in the outcome."""
        start = time.perf_counter()
        try:
            return Outcome(self.make(row), time.perf_counter() - start)
        except (ValueError, FileNotFoundError, CheckpointError) as error:
            return Outcome(seconds=time.perf_counter() - start, message=str(error))
        except Exception as error:  # out of memory, a network folder that is away: the next may go well
            logger.exception("row %s", row.name)
            self._forget()
            message = f"{type(error).__name__}: {error}"
            return Outcome(seconds=time.perf_counter() - start, message=message, again=True)

    def make(self, row: Row) -> dict[str, bytes]:
        """The row's pictures as PNG files, by kind.

        :raises ValueError: input that cannot be read or does not fit together.
        """
        settings = row.settings
        exemplar, picture = self._exemplar(row)
        reading = settings.target_reading or settings.reading
        target = reading([self.root / path for path in row.target_labels])
        height, width = self._size(target.size, settings.side)
        with torch.no_grad():
            made = self.pipeline(
                settings.prompt,
                exemplar,
                target_labels=target,
                height=height,
                width=width,
                mode=settings.mode,
                routing=Routing([Route(strength=settings.strength)]),
                keep_mass=settings.keep_mass,
                controlnext_scale=settings.controlnext,
                banks=self.banks,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                negative_prompt=settings.negative_prompt or None,
                # On the CPU: the same noise whatever the device.
                generator=torch.Generator().manual_seed(row.seed),
                output_type="np",
            ).images
        if not np.isfinite(made).all():
            raise ValueError("the model's numbers overflowed; use --dtype float32 or bfloat16")
        pictures = {RESULT: png(made[0])}
        if self.triplets:
            pictures[TRIPLET] = png(self._triplet(picture, exemplar.labels, target, made))
        return pictures

    def _exemplar(self, row: Row) -> tuple[Exemplar, Image.Image]:
        """The row's exemplar, encoded now or for the row before, and its picture."""
        if self._known is None or self._known[0] != row.same_exemplar:
            self._forget()
            settings = row.settings
            picture = Image.fromarray(read_rgb(self.root / row.exemplar))
            labels = settings.reading([self.root / path for path in row.exemplar_labels])
            exemplar = self.pipeline.encode_exemplar(
                picture,
                labels,
                size=self._size(picture.size[::-1], settings.side),
                method=settings.encoding,
                steps=settings.encoding_steps,
                generator=torch.Generator().manual_seed(settings.encoding_seed),
                name=row.exemplar,
            )
            self._known = row.same_exemplar, exemplar, picture
        return self._known[1:]

    def _forget(self) -> None:
        self._known = None
        self.banks.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _size(self, size: tuple[int, int], side: int | None) -> tuple[int, int]:
        """(H, W) to work at, multiples of the VAE's factor."""
        factor = self.pipeline.vae_scale_factor
        scale = 1 if side is None else side / min(size)
        height, width = (max(1, round(length * scale / factor)) * factor for length in size)
        return height, width

    def _triplet(self, picture: Image.Image, exemplar: LabelMap, target: LabelMap, made: np.ndarray) -> np.ndarray:
        shown = torch.from_numpy(np.array(picture))[None].float() / 255
        result: Tensor = torch.from_numpy(made)
        return triplet(shown, target, result, exemplar_labels=exemplar, height=result.shape[1])[0].numpy()


def png(picture: np.ndarray) -> bytes:
    """:param picture: [H, W, 3] float 0..1."""
    content = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(content, format="PNG")
    return content.getvalue()


class LocalPool:
    """One worker, in this process."""

    def __init__(self, synthesiser: Synthesiser):
        self.synthesiser = synthesiser
        self.row: Row | None = None

    @property
    def busy(self) -> int:
        return int(self.row is not None)

    def free(self) -> list[int]:
        return [] if self.busy else [0]

    def start(self, worker: int, row: Row) -> None:
        self.row = row

    def wait(self) -> list[tuple[Row, Outcome]]:
        row, self.row = self.row, None
        return [(row, self.synthesiser.attempt(row))]
