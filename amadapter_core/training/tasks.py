"""The tasks by name."""

from __future__ import annotations

from .config import Config
from .networks import Networks
from .task import Place, Task


def make_task(config: Config, place: Place, networks: Networks | None = None) -> Task:
    """The networks, samples and losses that the settings name.

    :param networks: for the diffusion stages, instead of those of the model folder.
    """
    if config.task == "autoencoder":
        from .autoencoder import AutoencoderTask

        return AutoencoderTask(config, place)
    if config.task == "structure":
        from .structure import StructureTask

        return StructureTask(config, place, networks)
    if config.task == "matcher":
        from .matcher import MatcherTask

        return MatcherTask(config, place, networks)
    from .segmenter import SegmenterTask

    return SegmenterTask(config, place)
