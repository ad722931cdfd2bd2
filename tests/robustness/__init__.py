"""How the pack stands up to damaged files and killed processes: a quick share for every run, and whole campaigns.

python -m tests.robustness.fuzz --cases 20000 --seed 1
python -m tests.robustness.kill --rounds 20
"""
