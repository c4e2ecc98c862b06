"""docs/compatibility.md: one section per server, scenarios down, client versions across.

A run writes the cells of the clients and scenarios that it ran and leaves the others as they are, so each cell is the
last outcome. Sections stand between two comment lines; text around them stays.
"""

import re

HEAD = """# Compatibility

Unmodified Apache RocketMQ Java clients: each scenario of `interop/` with each client version, the last outcome of each. Written by
`interop/run --table docs/compatibility.md`; run it again instead of editing. Every scenario passes against Apache's own broker first.

✓ passes · ✗ fails · – does not apply; the number leads to the reason
"""

SIGNS = {"PASS": "✓", "FAIL": "✗", "N/A": "–"}
VERDICTS = {sign: verdict for verdict, sign in SIGNS.items()}


def update(path, server, clients, outcomes, date):
    text = path.read_text() if path.exists() else HEAD
    name = f"{server.name} {server.version}" if server.name == "apache" else server.name
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    found = re.search(re.escape(begin) + "(.*?)" + re.escape(end), text, re.DOTALL)
    cells = read(found.group(1)) if found else {}
    names = dict.fromkeys(name for name, _ in cells)
    for client, scenario, verdict, _, reason in outcomes:
        cells[scenario, client] = (verdict, reason if verdict != "PASS" else "")
        names[scenario] = None
    section = "\n".join([begin, *write(server, list(names), cells, date), end])
    if found:
        text = text[: found.start()] + section + text[found.end():]
    else:
        text = text.rstrip("\n") + "\n\n" + section + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(section):
    """(scenario, client) → (verdict, reason), as `write` wrote them."""
    notes = dict(re.findall(r"^(\d+)\. (.*)$", section, re.MULTILINE))
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in section.splitlines() if line.startswith("|")]
    cells = {}
    for row in rows[2:]:
        for client, cell in zip(rows[0][1:], row[1:]):
            sign, _, note = cell.partition(" ")
            if sign in VERDICTS:
                cells[row[0].replace(r"\|", "|"), client] = (VERDICTS[sign], notes.get(note, ""))
    return cells


def write(server, names, cells, date):
    clients = sorted({client for _, client in cells}, key=lambda version: (
        version.startswith("admin"), [int(part) for part in version.removeprefix("admin-").split(".")]))
    count = {verdict: sum(1 for got, _ in cells.values() if got == verdict) for verdict in SIGNS}
    yield f"## {'Apache RocketMQ' if server.name == 'apache' else 'CometMQ'} {server.version}"
    yield ""
    yield f"{date}: {count['PASS']} passed, {count['FAIL']} failed, {count['N/A']} do not apply."
    yield ""
    yield "| scenario | " + " | ".join(clients) + " |"
    yield "|---|" + ":-:|" * len(clients)
    notes = []
    areas = list(dict.fromkeys(name.partition(":")[0] for name in names))
    for name in sorted(names, key=lambda name: areas.index(name.partition(":")[0])):
        row = []
        for client in clients:
            verdict, reason = cells.get((name, client), (None, ""))
            if reason and reason not in notes:
                notes.append(reason)
            row.append(SIGNS.get(verdict, "") + (f" {notes.index(reason) + 1}" if reason else ""))
        yield "| " + name.replace("|", r"\|") + " | " + " | ".join(row) + " |"
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"{number}. {note}"
