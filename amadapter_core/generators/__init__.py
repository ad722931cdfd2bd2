"""Three semantic generators beside AM-Adapter: clVAE, iPOSE and SCA-DM.

`system` tells them apart and loads them; `styles` are the codes that two of them take a class's appearance from.
What they share lies in this folder, each system in a folder of its own.
"""
