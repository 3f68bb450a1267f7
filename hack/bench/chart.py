"""The chart: a panel for each row, a bar for each program; plain SVG that follows the reader's theme."""

from html import escape

WIDTH, COLUMN, GAP = 860, 410, 40
# Around the panels, on a background of its own: a page can be light where the reader's theme is dark.
PAD = 16
BAR, STEP, HEAD, BETWEEN = 13, 19, 26, 16
LABEL, FIGURE = 92, 68

STYLE = """
  text { font: 12px -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f }
  .title { font-size: 13px; font-weight: 600 }
  .figure { font-variant-numeric: tabular-nums; fill: #57606a }
  .ours { font-weight: 600; fill: #24292f }
  rect { fill: #a8b3be } rect.ours { fill: #c2410c } rect.floor { fill: #d5dbe1 }
  rect.back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text, .ours { fill: #e6edf3 } .figure { fill: #9198a1 }
    rect { fill: #59636e } rect.ours { fill: #fb923c } rect.floor { fill: #3d444d }
    rect.back { fill: #0d1117 }
  }
"""


def plain(title):
    return title.replace("`", "").replace("`", "")


def figure(number, unit):
    if unit == "/s":
        return f"{number:,.0f}/s"
    return f"{number:,.{1 if number >= 1.95 else 2}f} {unit}" if unit else f"{number:,.0f}"


def panel(title, unit, bars, left, top):
    better = ", more is better" if unit == "/s" else ""
    lines = [f'<text class="title" x="{left}" y="{top + 13}">{escape(plain(title))}'
             f'<tspan class="figure" font-weight="400">{better}</tspan></text>']
    known = [(name, number) for name, number in bars if number is not None]
    largest = max(number for _, number in known)
    room = COLUMN - LABEL - FIGURE
    for index, (name, number) in enumerate(known):
        y = top + HEAD + index * STEP
        kind = ' class="ours"' if index == 0 else ' class="floor"' if name == "floor" else ""
        width = max(1.5, room * number / largest)
        lines += [
            f'<text{kind if index == 0 else ""} x="{left + LABEL - 8}" y="{y + 10}" text-anchor="end">'
            f"{escape(name)}</text>",
            f'<rect{kind} x="{left + LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
            f'<text class="{"ours" if index == 0 else "figure"}" x="{left + LABEL + width + 6:.1f}" y="{y + 10}">'
            f"{figure(number, unit)}</text>",
        ]
    return lines, HEAD + len(known) * STEP


def chart(panels):
    """The panels in two columns, the next always into the shorter one."""
    tops = [8, 8]
    lines = []
    for title, unit, bars in panels:
        if all(number is None for _, number in bars):
            continue
        column = 0 if tops[0] <= tops[1] else 1
        drawn, height = panel(title, unit, bars, column * (COLUMN + GAP), tops[column])
        lines += drawn
        tops[column] += height + BETWEEN
    height = max(tops) - BETWEEN
    left, top, wide, high = -PAD, -PAD, WIDTH + 2 * PAD, height + 2 * PAD
    described = "; ".join(
        f"{plain(title)}: " + ", ".join(f"{name} {figure(number, unit)}" for name, number in bars if number is not None)
        for title, unit, bars in panels)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left} {top} {wide} {high}" width="{wide}" height="{high}" '
        'role="img" aria-labelledby="title description">',
        '<title id="title">bulkhead beside other runtimes</title>',
        f'<desc id="description">{escape(described)}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="back" x="{left}" y="{top}" width="{wide}" height="{high}" rx="6"/>', *lines, "</svg>", ""])
