"""Drawn street scenes: each once in the colours of a look and once in the colours of its classes, so that picture and
label map agree to the pixel.
"""
