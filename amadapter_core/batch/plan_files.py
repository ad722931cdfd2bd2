"""Plans as files: JSON, YAML or Parquet.

{"settings": {"prompt": "a street", "steps": 30}, "rows": [{"exemplar": "day.jpg", "exemplar_labels": "day.png",
"target_labels": "crossing.png", "seed": 7}, ...]}

`settings` hold for all rows; whatever else a row names is a setting of its own ("steps", "reading.palette"). A row
without a name is called EXEMPLAR/TARGET after its files. In Parquet every column is a key of the rows. Relative paths
start at the file's folder, or at the plan's "root".
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ..limits import PLAN_ROWS, TEXT_BYTES, TooLarge, check_limit
from ..pairing import file_names
from ..result_folder import check_name
from ..text_files import read_json, read_yaml
from ..training.settings import build
from ..whole_files import write_whole
from .plan import Plan, Row, Settings

FORMAT = "am_adapter.plan.1"
ENDINGS = (".json", ".yaml", ".yml", ".parquet")

_DIVIDE = "divide the plan into several"
_OF_ROW = {f.name for f in fields(Row)} - {"settings"}
_FILES = ("exemplar_labels", "target_labels")


def read_plan(path: str | Path) -> Plan:
    """Read a plan; whether its files are there is not looked at.

    :raises FileNotFoundError: no such file.
    :raises ValueError: something else in it; the message names the row, which counts from 1, and the setting.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"batch: no plan {path.absolute()}; make one with python -m amadapter_core.batch plan")
    content = _load(path)
    if isinstance(content, list):
        content = {"rows": content}
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list) or not content["rows"]:
        raise ValueError(f"batch: {path} holds no rows; expected {{'settings': ..., 'rows': [...]}}")
    check_limit(f"batch: {path}", len(content["rows"]), PLAN_ROWS, "rows", _DIVIDE)
    if foreign := sorted(set(map(str, content)) - {"format", "root", "settings", "rows"}):
        raise ValueError(f"batch: {path} has {', '.join(foreign)}; a plan has settings, rows and root")
    common = _nested(_mapping(content.get("settings") or {}, f"batch: {path}: settings"))
    build(Settings, common, f"batch: {path}: settings")
    root = (path.parent / (content.get("root") or "")).absolute()
    reader = _RowReader(path, root, common)
    rows = tuple(reader.row(number, row) for number, row in enumerate(content["rows"], 1))
    _check_names(path, rows)
    return Plan(rows, root)


def write_plan(path: str | Path, plan: Plan) -> None:
    """Write a plan in the form that its ending names, whole or not at all.

    Settings that all rows share are written once; Parquet has them in every row. Paths inside the file's folder are
    relative to it, all others absolute.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ValueError(f"batch: {path}: a plan is written to a file that ends in {', '.join(ENDINGS)}")
    told = {id(row.settings): _changed(row.settings) for row in plan.rows}
    first = _changed(plan.rows[0].settings)
    shared = {key: value for key, value in first.items() if all(key in t and t[key] == value for t in told.values())}
    once = {} if path.suffix == ".parquet" else shared
    rows = [
        _sources(row, plan.root, path.parent)
        | {key: value for key, value in told[id(row.settings)].items() if key not in once}
        for row in plan.rows
    ]
    if path.suffix == ".parquet":
        write_parquet(path, rows)
    elif path.suffix == ".json":
        head = json.dumps({"format": FORMAT, "settings": once}, indent=1, ensure_ascii=False)
        lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
        write_whole(path, f'{head[:-2]},\n "rows": [\n{lines}\n ]\n}}\n'.encode())
    else:
        import yaml

        content = {"format": FORMAT, "settings": once, "rows": rows}
        write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of plain values, whole or not at all.

    :raises ValueError: pyarrow is not installed.
    """
    parquet = _parquet(path)
    import pyarrow

    columns = {key: [row.get(key) for row in rows] for row in rows for key in row}
    for key, values in columns.items():
        if any(isinstance(value, list) for value in values):  # a column is of one type
            columns[key] = [[value] if isinstance(value, str) else value for value in values]
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), content)
    write_whole(path, content.getvalue())


def _sources(row: Row, root: Path, folder: Path) -> dict[str, Any]:
    """A row without its settings, as it is written."""

    def placed(path: str) -> str:
        place = (root / path).absolute()
        return str(place.relative_to(folder.absolute()) if place.is_relative_to(folder.absolute()) else place)

    made = {key: value for key, value in row.told().items() if key in _OF_ROW}
    for key in ("exemplar", *_FILES):
        made[key] = placed(made[key]) if isinstance(made[key], str) else [placed(path) for path in made[key]]
    return made


def _changed(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults, "reading.palette" for what lies deeper."""
    defaults = _flat(asdict(Settings()))
    return {
        key: value for key, value in _flat(asdict(settings)).items() if key not in defaults or defaults[key] != value
    }


class _RowReader:
    def __init__(self, path: Path, root: Path, common: Mapping[str, Any]):
        self.path, self.root, self.common = path, root, common
        # A plan has many rows and few settings.
        self.known: dict[str, Settings] = {}

    def row(self, number: int, given: Any) -> Row:
        where = f"batch: {self.path}: row {number}"
        values = {key: value for key, value in _mapping(given, where).items() if value is not None}
        own = {key: values.pop(key) for key in list(values) if key not in _OF_ROW}
        for role in _FILES:
            if isinstance(values.get(role), str):
                values[role] = [values[role]]
        files = (values.get("exemplar"), *(values.get("target_labels") or ())[:1])
        stems = [Path(file).stem for file in files if isinstance(file, str)]
        values.setdefault("name", "/".join(name for stem in stems for name in file_names([stem])))
        row = build(Row, values | {"settings": {}}, where)
        for role in _FILES:
            if not getattr(row, role):
                raise ValueError(f"{where}: {role} names no file")
        settings = json.dumps(own, sort_keys=True, default=str)
        if settings not in self.known:
            made = build(Settings, _merged(self.common, _nested(own)), where)
            others = None if made.target_reading is None else made.target_reading.placed(self.root)
            self.known[settings] = replace(made, reading=made.reading.placed(self.root), target_reading=others)
        try:
            check_name(row.name)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return Row(**{f: getattr(row, f) for f in _OF_ROW}, settings=self.known[settings])


def _check_names(path: Path, rows: Sequence[Row]) -> None:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        # Names that differ in capitals alone are one file on some systems.
        if (first := seen.setdefault(row.name.casefold(), number)) != number:
            raise ValueError(
                f"batch: {path}: rows {first} and {number} are both called {row.name!r}, so one result would replace "
                "the other; give them names"
            )


def _load(path: Path) -> Any:
    if path.suffix not in ENDINGS:
        raise ValueError(f"batch: {path} is no plan; expected a file that ends in {', '.join(ENDINGS)}")
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    return (read_json if path.suffix == ".json" else read_yaml)(path, f"batch: {path}")


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file, whose few bytes can unfold to any size."""
    parquet = _parquet(path)
    where, rows, size = f"batch: {path}", [], 0
    check_limit(where, path.stat().st_size, TEXT_BYTES, "bytes", _DIVIDE)
    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            check_limit(where, sum(group.num_rows for group in groups), PLAN_ROWS, "rows", _DIVIDE)
            check_limit(where, sum(group.total_byte_size for group in groups), TEXT_BYTES, "bytes", _DIVIDE)
            for batch in file.iter_batches(batch_size=256):
                found = batch.to_pylist()
                # Not the batch's own size: what stands in a dictionary counts there once.
                size += sum(len(str(value)) for row in found for value in row.values())
                check_limit(where, size, TEXT_BYTES, "characters or more", _DIVIDE)
                rows += found
    except (TooLarge, MemoryError):
        raise
    except Exception as error:  # pyarrow's are of many kinds
        raise ValueError(f"{where} cannot be read as parquet: {error}") from error
    return rows


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(f"batch: {path} needs pyarrow; install it, or use a JSON or YAML file") from error
    return parquet


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{where}: expected names with values, got {value!r}")
    return value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"reading.palette": x} as {"reading": {"palette": x}}."""
    made: dict[str, Any] = {}
    for key, value in flat.items():
        first, dot, rest = key.partition(".")
        deeper = _nested({rest: value}) if dot else value
        made[first] = _merged(made[first], deeper) if isinstance(made.get(first), dict) and dot else deeper
    return made


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            made |= _flat(value, f"{prefix}{key}.")
        else:
            made[prefix + key] = list(value) if isinstance(value, tuple) else value
    return made


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(common)
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = _merged(made[key], value) if both else value
    return made
