"""Write the example workflows, `workflows/*.json`, and the subgraph blueprints, `subgraphs/*.json`.

What they are lies in `workflow_files`. Each workflow comes on Stable Diffusion 1.5 and, once its weights are there, as
`demo_*.json` on the demonstration family.
"""

from __future__ import annotations

from workflow_files.listing import blueprint_texts, workflow_texts
from workflow_files.places import SUBGRAPHS, WORKFLOWS


def main() -> None:
    SUBGRAPHS.mkdir(exist_ok=True)
    for folder, texts in ((WORKFLOWS, workflow_texts()), (SUBGRAPHS, blueprint_texts())):
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
