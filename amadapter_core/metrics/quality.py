"""Quality as the literature reports it: FID, KID, LPIPS, CLIP and DINO, through torchmetrics and transformers.

Optional: the packages come with the extra `metrics`, the weights from a local file or from the caches that the user
filled. Nothing is fetched from here; where something is missing the error says what, and how to get it.

Pictures are [N, 3, H, W] in 0..1; FID and KID take such batches one after the other as well, of any sizes.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.formats import open_file

INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
BACKBONES = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}
"""The networks under LPIPS; its own layers come with torchmetrics."""
CLIP, DINO = "openai/clip-vit-base-patch16", "facebook/dinov2-base"

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000

Pictures = Tensor | Iterable[Tensor]
_BATCH = 32


def inception(weights: str | Path | None = None) -> nn.Module:
    """Load the network whose features FID and KID compare: Inception v3 as converted from the original's TensorFlow.

    :param weights: its file; default: in the folder where torch.hub keeps downloads.
    :return: uint8 [B, 3, H, W] to features [B, 2048].
    :raises FileNotFoundError: the file is not there; says where it comes from.
    :raises ImportError: torchmetrics or torch-fidelity is missing.
    """
    _need("torch_fidelity", "inception")
    fid_module = _need("torchmetrics.image.fid", "inception")
    path = Path(weights).expanduser() if weights is not None else _cached(INCEPTION)
    if not path.is_file():
        raise _missing("inception", path, INCEPTION)
    # Their loader unpickles; what this one accepts runs no code there either.
    open_file(path)
    return fid_module.NoTrainInceptionV3(
        name="inception-v3-compat", features_list=["2048"], feature_extractor_weights_path=str(path)
    )


def fid(images: Pictures, references: Pictures, network: nn.Module) -> float:
    """Fréchet Inception Distance (arXiv 1706.08500). Lower is better; biased upward for few pictures.

    :param images: results; references real pictures: a set each, in no order.
    :param network: see `inception`; any module of uint8 pictures to features.
    """
    metric = _need("torchmetrics.image.fid", "fid").FrechetInceptionDistance(feature=network)
    _fill(metric, images, references, network)
    return float(metric.compute())


def kid(images: Pictures, references: Pictures, network: nn.Module, *, seed: int = 0) -> tuple[float, float]:
    """Kernel Inception Distance (arXiv 1801.01401): unbiased, and so the one for small sets. Lower is better.

    :return: mean and standard deviation over 100 subsets of up to 1000 pictures.
    """
    metric = _need("torchmetrics.image.kid", "kid").KernelInceptionDistance(feature=network, subsets=KID_SUBSETS)
    metric.subset_size = min(KID_SUBSET_SIZE, *_fill(metric, images, references, network))
    with torch.random.fork_rng(devices=[]):  # it draws the subsets from the global generator
        torch.manual_seed(seed)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def lpips(images: Tensor, references: Tensor, net: str = "alex", device: torch.device | str = "cpu") -> list[float]:
    """Learned perceptual distance of pictures in pairs (arXiv 1801.03924). Lower is better, 0 for equal pictures.

    :param images: [B, 3, H, W] in 0..1.
    :param references: the ground truth of each, alike.
    :param net: "alex", "vgg" or "squeeze".
    :return: one per pair.
    """
    _check_pairs("lpips", images, references)
    metric = _lpips(net).to(device)
    return [
        float(metric(image[None].to(device), reference[None].to(device)))
        for image, reference in zip(images.clamp(0, 1), references.clamp(0, 1), strict=True)
    ]


class Clip:
    """CLIP (arXiv 2103.00020), for pictures against prompts and pictures against pictures.

    :param model: a local folder, or the name of a model in the Hugging Face cache.
    """

    def __init__(self, model: str | Path = CLIP, device: torch.device | str = "cpu"):
        self._model, self._processor = _pretrained("Clip", "CLIPModel", "AutoProcessor", model, device)

    def score(self, images: Tensor, prompts: Sequence[str]) -> list[float]:
        """100 times the cosine of picture and prompt, not below 0, one per picture (CLIPScore, arXiv 2104.08718).

        :param images: [B, 3, H, W] in 0..1.
        """
        if len(prompts) != len(images):
            raise ValueError(f"Clip.score: {len(prompts)} prompts for {len(images)} pictures; give one each")
        tokens = self._processor(text=list(prompts), return_tensors="pt", padding=True, truncation=True)
        with torch.no_grad():
            text = _features(self._model.get_text_features(**tokens.to(self._model.device)))
        return [100 * max(0.0, cosine) for cosine in _cosines(self._embed(images), text)]

    def similarity(self, images: Tensor, references: Tensor) -> list[float]:
        """Cosine of each picture and its reference, [B, 3, H, W] in 0..1 of any size: -1..1, higher is better."""
        _check_number("Clip.similarity", images, references)
        return _cosines(self._embed(images), self._embed(references))

    def _embed(self, images: Tensor) -> Tensor:
        inputs = self._processor(images=_pictures(images), return_tensors="pt")
        with torch.no_grad():
            return _features(self._model.get_image_features(**inputs.to(self._model.device)))


class Dino:
    """DINO or DINOv2 (arXiv 2304.07193): cosine of the class tokens, which tells things apart better than CLIP.

    :param model: a local folder, or the name of a model in the Hugging Face cache.
    """

    def __init__(self, model: str | Path = DINO, device: torch.device | str = "cpu"):
        self._model, self._processor = _pretrained("Dino", "AutoModel", "AutoImageProcessor", model, device)

    def similarity(self, images: Tensor, references: Tensor) -> list[float]:
        """Cosine of each picture and its reference, [B, 3, H, W] in 0..1 of any size: -1..1, higher is better."""
        _check_number("Dino.similarity", images, references)
        return _cosines(self._embed(images), self._embed(references))

    def _embed(self, images: Tensor) -> Tensor:
        inputs = self._processor(images=_pictures(images), return_tensors="pt")
        with torch.no_grad():
            return self._model(**inputs.to(self._model.device)).last_hidden_state[:, 0]


def _fill(metric: Any, images: Pictures, references: Pictures, network: nn.Module) -> tuple[int, int]:
    """Show both sets to a metric, and count them."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    metric.to(device)
    counts = [0, 0]
    for real, pictures in enumerate((images, references)):
        for part in pictures.split(_BATCH) if isinstance(pictures, Tensor) else pictures:
            metric.update(_bytes(part).to(device), real=bool(real))
            counts[real] += len(part)
    if min(counts) < 2:
        raise ValueError(
            f"quality: {counts[0]} results and {counts[1]} references; a distance of sets needs 2 at least, and some "
            "thousands to mean much"
        )
    return counts[0], counts[1]


@cache
def _lpips(net: str) -> nn.Module:
    if net not in BACKBONES:
        raise ValueError(f"lpips: net is {net!r}, expected one of {', '.join(BACKBONES)}")
    module = _need("torchmetrics.image.lpip", "lpips")
    path = _cached(BACKBONES[net])
    if not path.is_file():  # torchvision would fetch it
        raise _missing("lpips", path, BACKBONES[net])
    return module.LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True)


def _pretrained(here: str, model_class: str, processor_class: str, name: str | Path, device: Any) -> tuple[Any, Any]:
    transformers = _need("transformers", here)
    local = {"pretrained_model_name_or_path": str(name), "local_files_only": True}
    try:
        model = getattr(transformers, model_class).from_pretrained(**local)
        processor = getattr(transformers, processor_class).from_pretrained(**local)
    except OSError as error:
        raise FileNotFoundError(
            f"{here}: {name!r} is neither a folder with a model and its processor nor in the Hugging Face cache; "
            f"fetch it with 'hf download {name}', or give a folder: {str(error).splitlines()[0]}"
        ) from error
    return model.to(device).eval().requires_grad_(False), processor


def _features(output: Any) -> Tensor:
    """transformers 4 gives the projected features themselves, 5 an object that holds them."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _pictures(images: Tensor) -> list[Any]:
    return list(_bytes(images).movedim(1, -1).cpu().numpy())


def _bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().byte()


def _cosines(first: Tensor, second: Tensor) -> list[float]:
    return F.cosine_similarity(first.float(), second.float()).tolist()


def _need(name: str, here: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{here}: {name.partition('.')[0]} is not installed; pip install 'am-adapter[metrics]'"
        ) from error


def _cached(url: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


def _missing(here: str, path: Path, url: str) -> FileNotFoundError:
    return FileNotFoundError(f"{here}: no weights at {path.absolute()}; fetch {url} and put the file there")


def _check_pairs(here: str, images: Tensor, references: Tensor) -> None:
    if images.shape != references.shape:
        raise ValueError(
            f"{here}: pictures are {list(images.shape)} and references {list(references.shape)}; they are compared in "
            "pairs of one size"
        )


def _check_number(here: str, images: Tensor, references: Tensor) -> None:
    if len(images) != len(references):
        raise ValueError(f"{here}: {len(images)} pictures and {len(references)} references; give as many of each")
