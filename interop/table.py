"""docs/compatibility.md: one section per server, scenarios down, client versions across.

A run rewrites the section of its server and leaves the others as they are. Sections stand between two comment lines,
so text around them stays.
"""

import re


HEAD = """# Compatibility

Unmodified Apache RocketMQ Java clients, each scenario with each version. Written by `interop/run --table`; run it again
instead of editing. Each scenario passes against Apache's own broker first.

✓ passes · ✗ fails · – not applicable, with the reason below
"""


def update(path, server, clients, outcomes, date):
    text = path.read_text() if path.exists() else HEAD
    name = f"{server.name} {server.version}" if server.name == "apache" else server.name
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = "\n".join([begin, *body(server, clients, outcomes, date), end])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section, text)
    else:
        text = text.rstrip("\n") + "\n\n" + section + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def body(server, clients, outcomes, date):
    title = "Apache RocketMQ" if server.name == "apache" else "CometMQ"
    names = list(dict.fromkeys(name for _, name, _, _, _ in outcomes))
    verdicts = {(client, name): (verdict, reason) for client, name, verdict, _, reason in outcomes}
    yield f"## {title} {server.version}"
    yield ""
    yield f"{date}: {sum(1 for o in outcomes if o[2] == 'PASS')} passed, {sum(1 for o in outcomes if o[2] == 'FAIL')} failed."
    yield ""
    yield "| scenario | " + " | ".join(clients) + " |"
    yield "|---|" + ":-:|" * len(clients)
    notes = []
    for name in names:
        cells = []
        for client in clients:
            verdict, reason = verdicts.get((client, name), ("N/A", "did not run"))
            if verdict == "PASS":
                cells.append("✓")
                continue
            if reason not in notes:
                notes.append(reason)
            cells.append(("✗" if verdict == "FAIL" else "–") + f" {notes.index(reason) + 1}")
        yield f"| {name.replace('|', chr(92) + '|')} | " + " | ".join(cells) + " |"
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"{number}. {note}"
