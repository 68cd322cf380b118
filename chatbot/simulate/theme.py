"""How a page looks: its colours in light and dark, and its style sheet. Pure.

The colours of plots are told apart by people who are colour-blind (blue, orange, teal, purple), and by their
lines too, which are whole or dashed. Nothing is loaded: the fonts are those of the machine.
"""

LIGHT = {
    "page": "#ffffff",
    "panel": "#f6f7f9",
    "text": "#1a1f26",
    "muted": "#57606a",
    "rule": "#d5dae0",
    "grid": "#e4e8ec",
    "shade": "#eef1f4",
    "link": "#0b62a8",
    "good": "#0a7355",
    "bad": "#b3400a",
    "warn": "#8a5a00",
    "c1": "#0b6bb5",
    "c2": "#c2500a",
    "c3": "#0a7f6a",
    "c4": "#8a3f8f",
}
DARK = {
    "page": "#14171c",
    "panel": "#1c2027",
    "text": "#e6e9ee",
    "muted": "#a3acb8",
    "rule": "#363d48",
    "grid": "#2a3039",
    "shade": "#1f242c",
    "link": "#7cc0f5",
    "good": "#4ecb9f",
    "bad": "#f59a5b",
    "warn": "#e3b549",
    "c1": "#5cb3f0",
    "c2": "#f2934a",
    "c3": "#43c7ad",
    "c4": "#d49be0",
}
SERIES = ("c1", "c2", "c3", "c4")


def style() -> str:
    """Return the style sheet."""
    series = "".join(
        f".{name}{{--ink:var(--{name})}}" for name in SERIES
    )  # a shape's class only says which ink
    return "".join(
        (
            f":root{{color-scheme:light dark;{_variables(LIGHT)}}}",
            f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}",
            f"@media print{{:root{{color-scheme:light;{_variables(LIGHT)}}}}}",
            series,
            "".join(line.strip() for line in _RULES.splitlines()),
        )
    )


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1160px;margin:0 auto;padding:40px 28px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 4px;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.2rem;line-height:1.3;margin:56px 0 16px;padding-top:16px;border-top:1px solid var(--rule)}
p{margin:0 0 12px;max-width:75ch}
a{color:var(--link)}
code,pre{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:0 0 16px;padding:12px 16px;background:var(--panel);border-radius:6px;white-space:pre-wrap;
overflow-wrap:anywhere}
.about,.note,.empty{color:var(--muted)}
.about{overflow-wrap:anywhere}
.note{font-size:.875rem}
.figures+.note,.figures+.scroll{margin-top:20px}
.empty{padding:32px 0;text-align:center;margin:0 auto}
.verdict{margin:24px 0;padding:14px 20px;border-left:5px solid var(--mark);background:var(--panel);
border-radius:0 6px 6px 0}
.verdict strong{color:var(--mark);letter-spacing:.02em}
.verdict ul{margin:6px 0 0;padding-left:20px}
.verdict li,.warnings li{overflow-wrap:anywhere}
.mark{color:var(--mark)}
.VALID{--mark:var(--good)}
.CLIENT-LIMITED{--mark:var(--bad)}
.SERVER-LIMITED,.NO-VERDICT{--mark:var(--warn)}
.warnings{margin:0 0 16px;padding-left:20px;color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:20px 28px;margin:28px 0 0}
.tiles dt{color:var(--muted);font-size:.875rem}
.tiles dd{margin:0;font-size:1.55rem;line-height:1.25;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.tiles dd small{display:block;font-size:.8125rem;line-height:1.4;color:var(--muted);letter-spacing:0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:28px 36px}
figure{margin:0;min-width:0;break-inside:avoid}
figure svg{display:block;width:100%;height:auto}
figcaption{margin-bottom:6px}
figcaption b{font-weight:600;margin-right:14px}
.key{display:inline-block;white-space:nowrap;margin-right:14px;color:var(--muted);font-size:.8125rem}
.key svg{display:inline-block;width:22px;height:10px;margin-right:5px;vertical-align:0}
.tick,.axis{font-size:13px;fill:var(--muted);font-variant-numeric:tabular-nums}
.label{font-size:13px;fill:var(--text);paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round;
pointer-events:none}
.grid{stroke:var(--grid);stroke-width:1}
.foot{stroke:var(--muted);stroke-width:1}
.shade{fill:var(--shade)}
.line{fill:none;stroke:var(--ink);stroke-width:2;stroke-linejoin:round}
.dashed{stroke-dasharray:6 4}
.band{fill:var(--ink);opacity:.14}
.bar{fill:var(--ink)}
.bar.soft{opacity:.55}
.dot{fill:var(--ink)}
.hover{fill:transparent}
.hover:hover{fill:var(--text);opacity:.09}
.scroll{overflow-x:auto;margin:0 0 16px}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;line-height:1.4}
th,td{padding:6px 10px;text-align:right;vertical-align:top;border-bottom:1px solid var(--rule);white-space:nowrap}
thead th{color:var(--muted);font-weight:500;vertical-align:bottom}
tbody th{font-weight:500;text-align:left}
th:first-child,td:first-child{text-align:left;padding-left:0}
.words{text-align:left;white-space:normal;min-width:16em;overflow-wrap:anywhere}
td.words{color:var(--muted)}
td small{display:block;color:var(--muted);font-size:.75rem}
details{margin:8px 0 0;font-size:.875rem}
summary{cursor:pointer;color:var(--muted)}
details .scroll{max-height:320px;overflow-y:auto;margin-top:8px}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
footer{margin-top:56px;color:var(--muted);font-size:.8125rem}
@media (max-width:620px){
main{padding:24px 16px 48px}
h1{font-size:1.4rem}
h2{margin-top:40px}
.tiles{grid-template-columns:1fr 1fr;gap:16px}
.tiles dd{font-size:1.3rem}
.tick,.axis,.label{font-size:16px}
th:first-child{position:sticky;left:0;background:var(--page)}
tbody th{white-space:normal;min-width:8em}
.words{min-width:22em}
}
@media print{
main{max-width:none;padding:0}
h2{break-after:avoid;margin-top:28px}
.verdict{border:1px solid var(--rule);border-left:5px solid var(--mark)}
.figures{grid-template-columns:1fr 1fr;gap:16px}
table{font-size:9pt}
th,td{padding:3px 6px;white-space:normal}
details,.hover{display:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""
