"""The method in ComfyUI: the only part of the library that imports it."""
