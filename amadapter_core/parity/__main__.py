"""The command: `python -m amadapter_core.parity DIR...`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .report import Report, check_folder


def main(arguments: list[str] | None = None) -> int:
    """Check the folders, print a line for each and all as JSON; return 1 where one is beyond its tolerance."""
    parser = argparse.ArgumentParser(prog="python -m amadapter_core.parity", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="golden folders")
    reports = []
    for folder in parser.parse_args(arguments).folders:
        report = Report(folder)
        reports.append(report)
        try:
            for check in check_folder(folder):
                report.checks.append(check)
                print(check, flush=True)
        except (FileNotFoundError, ValueError) as error:
            print(error, file=sys.stderr)
    passed = all(report.passed for report in reports)
    print(json.dumps({"passed": passed, "folders": [report.summary() for report in reports]}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
