"""A small network that says which class every pixel of a picture belongs to.

It is meant to be trained on scenes whose label maps are known, in minutes on a CPU, and to judge afterwards whether
a generated picture follows its label map. A plain encoder and decoder with residual blocks (U-Net, arXiv 1505.04597);
group normalisation, so that a picture's answer does not depend on its batch mates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints import CheckpointError, save_tensors
from ..checkpoints.formats import open_file
from ..checkpoints.reading import check_finite
from ..network import Network
from ..palettes import Palette
from ..text_files import parse_json

LEVELS = 4
"""Sizes at which the network works: whole, halves, quarters, eighths."""
STRIDE = 2 ** (LEVELS - 1)

NO_CLASS = -100
"""What `Segmenter.indices` gives to pixels of no class; `F.cross_entropy` leaves them out."""

_KIND, _CLASSES = "am_adapter.kind", "am_adapter.classes"
_GROUPS = 4


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity.

    :param dilation: distance of the taps.
    """

    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        taps = {"padding": dilation, "dilation": dilation, "bias": False}
        self.conv1 = nn.Conv2d(channels, channels, 3, **taps)
        self.norm1 = nn.GroupNorm(_GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, **taps)
        self.norm2 = nn.GroupNorm(_GROUPS, channels)

    def forward(self, x: Tensor) -> Tensor:
        """:param x: [B, C, H, W].
        :return: the same shape.
        """
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(h)))


class Segmenter(Network):
    """A picture [B, 3, H, W] in 0..1 to one logit per class and pixel.

    :param classes: name of each class by its label id, in the order of the logits.
    :param width: of the finest level, a multiple of 4; level n has (n + 1) times as much. 16 makes 0.25 M parameters.
    """

    def __init__(self, classes: Mapping[int, str], width: int = 16):
        super().__init__()
        if not classes:
            raise ValueError("Segmenter: no classes given; name at least one")
        if width < _GROUPS or width % _GROUPS:
            raise ValueError(f"Segmenter: width is {width}, expected a positive multiple of {_GROUPS}")
        self.classes = {int(label): str(name) for label, name in classes.items()}
        self.width = width
        widths = [width * (level + 1) for level in range(LEVELS)]
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False)
        )
        # The coarsest block sees twice as far, at no cost.
        self.encoder = nn.ModuleList(Residual(c, dilation=2 if c == widths[-1] else 1) for c in widths[1:])
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.decoder = nn.ModuleList(Residual(c) for c in widths[1:-1])
        # At the whole size one convolution must do: it costs as much as a block of the next level.
        self.finest = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Conv2d(width, len(self.classes), 1)

    @classmethod
    def of(cls, palette: Palette, width: int = 16) -> Segmenter:
        """Build one for all classes of a palette."""
        return cls(dict(zip(palette.ids, palette.names, strict=True)), width)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], classes: Mapping[int, str] | None = None) -> Segmenter:
        """Build the network whose sizes the weights have, and load them strictly.

        :param classes: None numbers and names them from 0.
        :raises ValueError: when there are more or fewer classes than logits.
        :raises RuntimeError: when keys are missing, left over or of another shape.
        """
        logits = state_dict["head.weight"].shape[0]
        classes = {k: str(k) for k in range(logits)} if classes is None else classes
        if len(classes) != logits:
            raise ValueError(f"Segmenter: {len(classes)} classes are named, the weights have {logits} logits")
        with torch.device("meta"):  # a file of a few wide tensors would fill memory before the others are missed
            net = cls(classes, width=state_dict["stem.weight"].shape[0])
        own = {name: tensor.to(torch.float32, copy=True) for name, tensor in state_dict.items()}
        net.load_state_dict(own, strict=True, assign=True)
        return net

    def forward(self, images: Tensor) -> Tensor:
        """:param images: [B, 3, H, W] in 0..1, any size.
        :return: logits [B, K, H, W].
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"Segmenter: expected pictures [B, 3, H, W], got {list(images.shape)}")
        height, width = images.shape[-2:]
        x = F.pad(2 * images - 1, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        x = F.relu(self.stem(x))
        skips = [x]
        for down, block in zip(self.down, self.encoder, strict=True):
            x = block(down(x))
            skips.append(x)
        x = skips.pop()
        for up, block in zip(reversed(self.up[1:]), reversed(self.decoder), strict=True):
            x = block(_double(up(x)) + skips.pop())
        x = _double(self.up[0](x)) + skips.pop()
        x = F.relu(x + self.finest(x))
        return self.head(x)[..., :height, :width]

    @torch.no_grad()
    def predict(self, images: Tensor, batch: int = 16) -> Tensor:
        """Name the most likely class of every pixel.

        :param images: [B, 3, H, W] in 0..1.
        :param batch: how many go through the network at once.
        :return: [B, H, W] int64 label ids, keys of `classes`, on the pictures' device.
        """
        ids = torch.tensor(list(self.classes), device=images.device)
        parts = images.split(batch)
        return torch.cat([ids[self(part.to(self.device, self.dtype)).argmax(1).to(ids.device)] for part in parts])

    def indices(self, ids: Tensor) -> Tensor:
        """Turn label ids into what the logits are trained on.

        :param ids: [B, H, W] label ids of any integer dtype.
        :return: [B, H, W] int64 places in `classes`, NO_CLASS where the id is none of them.
        """
        ids = ids.long()
        places = torch.full_like(ids, NO_CLASS)
        for place, label in enumerate(self.classes):
            places[ids == label] = place
        return places

    def save(self, path: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write weights and classes as safetensors; an existing file is replaced in one step or not at all.

        :param dtype: of the written weights; None keeps theirs.
        """
        if Path(path).suffix != ".safetensors":
            raise ValueError(f"Segmenter.save: {path} must end in .safetensors")
        tensors = {key: value.to(dtype or value.dtype) for key, value in self.state_dict().items()}
        spoilt = [key for key, value in tensors.items() if not bool(value.isfinite().all())]
        if spoilt:
            raise ValueError(f"Segmenter.save: {path}: {len(spoilt)} tensors are not finite, first {spoilt[0]}")
        save_tensors(path, tensors, {_KIND: "segmenter", _CLASSES: json.dumps(self.classes)})

    @classmethod
    def load(cls, path: str | Path, dtype: torch.dtype = torch.float32) -> Segmenter:
        """Read what `save` wrote.

        :return: in evaluation mode, without gradients, on the CPU.
        :raises FileNotFoundError: no such file.
        :raises CheckpointError: another kind of file.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"Segmenter.load: no file {path.absolute()}; give the .safetensors of a segmenter")
        source = open_file(path)
        metadata = source.metadata
        # The header tells; the weights of some other, large model are not read for nothing.
        if metadata.get(_KIND) != "segmenter" or _CLASSES not in metadata:
            raise CheckpointError(
                f"Segmenter.load: {path} is no segmenter of this pack: its metadata lack {_KIND} = segmenter with "
                f"{_CLASSES}; Segmenter.save writes such files"
            )
        state_dict = source.fetch(source.tensors)
        check_finite(path, state_dict, "The training diverged or the file is damaged: use another one")
        try:
            classes = {int(label): str(name) for label, name in parse_json(metadata[_CLASSES], _CLASSES).items()}
            return cls.from_state_dict(state_dict, classes).to(dtype).requires_grad_(False).eval()
        except (ValueError, AttributeError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"Segmenter.load: {path} is damaged: {error}") from error


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
