"""Pack the support pictures of the part data set, which no checkpoint of iPOSE holds.

    python -m amadapter_core.generators.ipose pack Full_Parts OUT.safetensors [--count 3] [--data-set ade20k]

FOLDER is `Full_Parts`, its `support_shape`, or the folder of categories in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from .conventions import CONVENTIONS
from .supports import PUBLISHED_COUNT, pack_supports


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.generators.ipose", description=__doc__)
    command = parser.add_subparsers(dest="command", required=True).add_parser("pack", help="pack support pictures")
    command.add_argument("folder", metavar="FOLDER")
    command.add_argument("destination", metavar="OUT.safetensors")
    command.add_argument("--count", type=int, default=PUBLISHED_COUNT, help="examples per category")
    command.add_argument("--data-set", choices=CONVENTIONS, help="refuse a folder that lacks one of its categories")
    options = parser.parse_args(arguments)
    categories = CONVENTIONS[options.data_set].categories if options.data_set else None
    try:
        supports = pack_supports(options.folder, categories, options.count)
        supports.save(options.destination)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"path": options.destination, "categories": list(supports.categories), "count": options.count}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
