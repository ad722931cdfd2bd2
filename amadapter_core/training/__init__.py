"""Staged training on the diffusers host with accelerate; also `python -m amadapter_core.training CONFIG`.

autoencoder: pictures to latents. structure (stage 1): UNet and ControlNeXt on single pairs. matcher (stage 2): the
matcher alone, on pairs of exemplar and target. segmenter: the network that measures layout.
"""
