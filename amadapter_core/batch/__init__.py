"""Rows of a plan made into pictures: on one machine, on many GPUs and machines with Ray, or by running ComfyUIs."""
