"""
Retrieval: the exemplars of a folder that fit a target's label map best.

`building.build` reads a folder of pairs once and keeps a description of each in one `index.Index`; `finding.Finder`
answers which exemplars show the target's classes in about the target's places.
"""
