"""Bars, judged rows and the table of a check. A row passes only when its value was seen and is good.

The bars are fixed before anything runs: a row that nobody reports, a value that is no finite number, a program that ended badly
and a row without a bar fail alike."""
import dataclasses
import json
import math
import threading


@dataclasses.dataclass(frozen=True)
class Bar:
    """What a row's value must be: least <= value <= most (`above`: least < value)."""
    name: str
    most: float | None = None
    least: float | None = None
    above: bool = False
    unit: str = ""
    note: str = ""

    def text(self):
        parts = []
        if self.least is not None:
            parts.append(f"{'>' if self.above else '≥'} {self.least:g}")
        if self.most is not None:
            parts.append(f"≤ {self.most:g}")
        return ", ".join(parts) or "finite"

    def misses(self, value):
        """Why `value` is not good, or None."""
        if isinstance(value, bool):
            return f"{value} is not a number"
        try:
            number = float(value)
        except (TypeError, ValueError):
            return f"{value!r} is not a number"
        if not math.isfinite(number):
            return f"{number} is not finite"
        if self.most is not None and number > self.most:
            return f"{number:.3g} is above {self.most:g}"
        if self.least is not None and (number < self.least or (self.above and number == self.least)):
            return f"{number:.3g} is not {'above' if self.above else 'at least'} {self.least:g}"
        return None


class Failure(Exception):
    """A check that could not be done, with the reason."""


class Report:
    """Collects (name, value) and failures from any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self.values = []    # (name, value)
        self.failures = []  # (name, reason)

    def add(self, name, value):
        with self._lock:
            self.values.append((name, value))

    def fail(self, name, reason):
        with self._lock:
            self.failures.append((name, str(reason)))

    def keep(self, wanted):
        """Forgets what the user did not ask for."""
        self.values = [item for item in self.values if wanted(item[0])]
        self.failures = [item for item in self.failures if wanted(item[0])]

    def attempt(self, names, work, *arguments):
        """Runs `work`; whatever it raises fails those of `names` that it has not reported."""
        try:
            work(*arguments)
        except Failure as failure:
            self._fail_rest(names, str(failure))
        except Exception as error:  # a defect of the check is a failure too, never a silence
            self._fail_rest(names, f"the check itself failed: {type(error).__name__}: {error}")

    def _fail_rest(self, names, reason):
        with self._lock:
            reported = {name for name, _ in self.values} | {name for name, _ in self.failures}
            self.failures += [(name, reason) for name in names if name not in reported]


def judge(bars, report):
    """One row per bar, in order, then one per report that no bar asked for: {name, value, unit, bar, verdict, reason}."""
    rows = []
    for bar in bars:
        values = [value for name, value in report.values if name == bar.name]
        reasons = [reason for name, reason in report.failures if name == bar.name]
        value = values[0] if values else None
        if reasons:
            reason = reasons[0]
        elif not values:
            reason = "missing: nothing reported it"
        elif len(values) > 1:
            reason = f"reported {len(values)} times"
        else:
            reason = bar.misses(value)
        rows.append(_row(bar, value, reason))
    known = {bar.name for bar in bars}
    for name, value in report.values + [(name, None) for name, _ in report.failures]:
        if name not in known:
            known.add(name)
            rows.append(_row(Bar(name), value, "no bar is known for this row"))
    if not bars:
        rows.append(_row(Bar("the list of checks"), None, "is empty"))
    return rows


def _row(bar, value, reason):
    if value is not None and not isinstance(value, (bool, str)):
        value = float(value) if isinstance(value, (int, float)) else repr(value)
    return {"name": bar.name, "value": value, "unit": bar.unit, "bar": bar.text(), "verdict": "FAIL" if reason else "ok",
            "reason": reason or "", "note": bar.note}


def passed(rows):
    return bool(rows) and all(row["verdict"] == "ok" for row in rows)


def value_text(row):
    value = row["value"]
    if value is None:
        return "–"
    if isinstance(value, (bool, str)) or not math.isfinite(value):
        return str(value)
    number = f"{value:.1e}" if value != 0 and abs(value) < 0.01 else f"{value:.4g}"
    return f"{number} {row['unit']}".strip()


def markdown(title, facts, rows, notes):
    """The table as Markdown; `facts` is printed as one line per item."""
    lines = [f"## {title}", ""] + [f"- {key}: {value}" for key, value in facts.items()] + [""]
    lines += ["| check | value | must be | verdict |", "|---|---:|---|---|"]
    for row in rows:
        verdict = row["verdict"] + (f": {row['reason']}" if row["reason"] else "")
        lines.append(f"| {row['name']} | {value_text(row)} | {row['bar']} | {verdict.replace('|', '/')} |")
    notes = notes + [f"{row['name']}: {row['note']}" for row in rows if row["note"]]
    return "\n".join(lines + [""] + [f"- {note}" for note in notes]) + "\n"


def write_json(path, document):
    """Numbers that JSON does not know (nan, inf) are written as strings."""
    def plain(item):
        if isinstance(item, dict):
            return {key: plain(value) for key, value in item.items()}
        if isinstance(item, list):
            return [plain(value) for value in item]
        return str(item) if isinstance(item, float) and not math.isfinite(item) else item

    path.write_text(json.dumps(plain(document), indent=1, allow_nan=False) + "\n")
