"""The tasks by name."""

from __future__ import annotations

from .config import Config
from .networks import Networks
from .task import Place, Task

ADVERSARIAL = ("clvae", "ipose")
"""Tasks whose networks learn by turns; see `adversarial`."""


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
    if config.task == "clvae":
        from .clvae import ClVAETask

        return ClVAETask(config, place)
    if config.task == "ipose_parts":
        from .ipose_parts import PartsTask

        return PartsTask(config, place)
    if config.task == "ipose":
        from .ipose import IPoseTask

        return IPoseTask(config, place)
    if config.task == "scadm":
        from .scadm import ScaDMTask

        return ScaDMTask(config, place)
    from .segmenter import SegmenterTask

    return SegmenterTask(config, place)
