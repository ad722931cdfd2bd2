"""The method on a host: `diffusers` for training and headless runs, `comfy` for the node pack."""
