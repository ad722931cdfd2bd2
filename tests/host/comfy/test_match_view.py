"""Match View on the tiny Stable Diffusion: classes look at their own regions, and nothing of the MODEL changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.host.comfy.pack import pack_module

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("inference")]

ROAD, BUILDING, SKY, CAR = 0, 2, 10, 13
RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.1, 0.9)


def labels(left: int, right: int, h: int = 64, w: int = 128) -> Any:
    """A label map of two halves side by side."""
    maps = pack_module("amadapter_core.label_maps")
    ids = torch.full((1, h, w), left)
    ids[..., w // 2 :] = right
    return maps.LabelMap(ids, maps.Palette.load("cityscapes19"))


def picture(left: tuple, right: tuple, h: int = 64, w: int = 128) -> Tensor:
    image = torch.tensor(left).expand(1, h, w, 3).clone()
    image[:, :, w // 2 :] = torch.tensor(right)
    return image


@pytest.fixture(scope="module")
def positive() -> list:
    return [[torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(1)), {}]]


@pytest.fixture
def latent() -> dict:
    """The finished picture, 128 x 64: higher than wide."""
    return {"samples": torch.randn(1, 4, 16, 8, generator=torch.Generator().manual_seed(2))}


def exemplar_of(label_map: Any, seed: int = 3) -> Any:
    """An exemplar of 64 x 128 pixels, by forward noise."""
    core = pack_module("amadapter_core.exemplar")
    latents = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(seed))
    trajectory = core.Trajectory.forward_noise(latents, torch.Generator().manual_seed(seed))
    return pack_module("amadapter_core.hosts.comfy.exemplar").HostExemplar(core.Exemplar(trajectory, label_map))


def applied(model: Any, *exemplars: Any, target: Any, **options: Any) -> Any:
    Application = pack_module("amadapter_core.hosts.comfy.application").Application
    for exemplar in exemplars:
        model = pack_module("amadapter_core.hosts.comfy.patch").apply(model, Application(exemplar, target, **options))
    return model


def view(model: Any, positive: list, latent: dict, image: Tensor, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The node's outputs."""
    defaults = {
        "x": 0.5,
        "y": 0.5,
        "class_name": "",
        "start_percent": 0.3,
        "end_percent": 0.8,
        "samples": 1,
        "layers": "all",
        "exemplar_index": 0,
        "seed": 0,
    }
    execute = pack_module("nodes.match_view").AMAdapterMatchView.execute
    return execute(model, positive, latent, image, **(defaults | options)).args


@pytest.fixture
def street(model: Any) -> Any:
    """The target has road left and sky right, the exemplar sky left and road right."""
    return applied(model, exemplar_of(labels(SKY, ROAD)), target=labels(ROAD, SKY, 128, 64))


def colourful(heat_map: Tensor) -> Tensor:
    """Where a heat map is hot: cold places are grey but for a trace."""
    return (heat_map.amax(-1) - heat_map.amin(-1)) > 0.1


@pytest.mark.parametrize(
    ("selection", "hot", "cold"),
    [
        ({"class_name": "road"}, slice(64, 128), slice(0, 60)),
        ({"class_name": " Sky "}, slice(0, 64), slice(68, 128)),
        ({"x": 0.1, "y": 0.9}, slice(64, 128), slice(0, 60)),
        ({"x": 0.9, "y": 0.0}, slice(0, 64), slice(68, 128)),
    ],
)
def test_heat_lies_in_the_class_s_region(street, positive, latent, selection: dict, hot: slice, cold: slice) -> None:
    heat_map, _, _ = view(street, positive, latent, picture(RED, BLUE), **selection)
    assert heat_map.shape == (1, 64, 128, 3)
    assert not colourful(heat_map)[..., cold].any()
    assert colourful(heat_map)[..., hot].any()
    assert heat_map[..., hot, :].amax() > 0.95


def test_the_exemplar_is_moved_to_the_target_s_layout(street, positive, latent) -> None:
    _, warped, share = view(street, positive, latent, picture(RED, BLUE), samples=2)
    assert warped.shape == (1, 128, 64, 3) and share.shape == (1, 128, 64)
    left, right = warped[:, :, :24].flatten(0, 2), warped[:, :, 40:].flatten(0, 2)
    assert (left[:, 2] > left[:, 0] + 0.4).all()  # the target's road lies left, the exemplar's is blue
    assert (right[:, 0] > right[:, 2] + 0.4).all()
    assert 0.02 < share.min() < share.max() < 1


def test_a_class_that_the_exemplar_lacks_gets_no_share_and_stays_grey(model, positive, latent) -> None:
    patched = applied(model, exemplar_of(labels(SKY, BUILDING)), target=labels(ROAD, SKY, 128, 64))
    heat_map, warped, share = view(patched, positive, latent, picture(RED, BLUE), class_name="road")
    assert share[:, :, :32].max() == 0 < share[:, :, 32:].min()
    assert torch.allclose(warped[:, :, :24], torch.tensor(0.5))
    assert not colourful(heat_map).any()


def test_it_is_deterministic_and_leaves_model_and_latent_alone(street, positive, latent) -> None:
    before, wrappers = latent["samples"].clone(), {kind: dict(w) for kind, w in street.wrappers.items()}
    first = view(street, positive, latent, picture(RED, BLUE))
    second = view(street, positive, latent, picture(RED, BLUE))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(view(street, positive, latent, picture(RED, BLUE), seed=1)[2], first[2])
    assert street.model_options["transformer_options"] == {} and street.wrappers == wrappers
    assert torch.equal(latent["samples"], before)


def test_each_exemplar_of_a_chain_is_seen_by_itself(model, positive, latent) -> None:
    exemplars = exemplar_of(labels(SKY, BUILDING)), exemplar_of(labels(BUILDING, ROAD), seed=4)
    patched = applied(model, *exemplars, target=labels(ROAD, SKY, 128, 64))
    # Not the middle block: one of its tokens covers both halves.
    shares = [view(patched, positive, latent, picture(RED, BLUE), exemplar_index=i, layers="up")[2] for i in (0, 1)]
    for share, seen, unseen in ((shares[0], slice(32, 64), slice(0, 32)), (shares[1], slice(0, 32), slice(32, 64))):
        assert share[..., unseen].max() == 0 < share[..., seen].min()


def test_layers_and_batches(street, positive, latent) -> None:
    shares = {layers: view(street, positive, latent, picture(RED, BLUE), layers=layers)[2] for layers in ("mid", "up")}
    assert not torch.equal(shares["mid"], shares["up"])
    assert len(shares["mid"].unique()) <= 2  # two tokens of the middle block cover this target
    batch = {"samples": latent["samples"].repeat(2, 1, 1, 1)}
    assert [len(out) for out in view(street, positive, batch, picture(RED, BLUE))] == [2, 2, 2]


def test_the_whole_picture_is_seen_in_a_window_of_the_sampling(model, positive, latent) -> None:
    target = labels(ROAD, SKY, 128, 64)
    early = applied(model, exemplar_of(labels(SKY, ROAD)), target=target, start=0.0, end=0.2)
    with pytest.raises(ValueError, match="^Match View: between 0.3 and 0.8 nothing is looked at.*from 0.0 to 0.2"):
        view(early, positive, latent, picture(RED, BLUE))
    within = {"start_percent": 0.0, "end_percent": 0.2}
    assert view(early, positive, latent, picture(RED, BLUE), **within)[2].min() > 0
    upper = [[positive[0][0], {"area": (8, 8, 0, 0)}]]
    with pytest.raises(ValueError, match="conditioning that covers the whole picture"):
        view(early, upper, latent, picture(RED, BLUE), **within)


def test_it_can_be_interrupted(street, positive, latent) -> None:
    import comfy.model_management as management

    expected = view(street, positive, latent, picture(RED, BLUE))[2]
    management.interrupt_current_processing()
    with pytest.raises(management.InterruptProcessingException):
        view(street, positive, latent, picture(RED, BLUE))
    assert torch.equal(view(street, positive, latent, picture(RED, BLUE))[2], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exemplar_index": 1}, "^Match View: exemplar_index is 1, the model looks at 1 exemplar"),
        ({"class_name": "car"}, "^Match View: the target has no pixel of class 'car'; .*: road, sky$"),
        ({"class_name": "carr"}, "^Match View: .* no class 'carr'; present in the label map: road, sky$"),
        ({"start_percent": 0.9}, "^Match View: start_percent 0.9 comes after end_percent 0.8"),
    ],
)
def test_errors_say_what_is_wrong(street, positive, latent, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        view(street, positive, latent, picture(RED, BLUE), **options)


def test_a_model_without_an_exemplar_is_refused(model, positive, latent) -> None:
    with pytest.raises(ValueError, match="^Match View: this model has no exemplar; connect the MODEL that Apply"):
        view(model, positive, latent, picture(RED, BLUE))
