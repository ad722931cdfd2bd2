"""A campaign against a running ComfyUI: random legal runs, damaged prompts, two clients, interrupts.

`python -m tests.soak run --runs 200 --seed 7 --output FOLDER`
"""
