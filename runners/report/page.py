"""The page around a report's sections, and its style, for light and dark, wide and narrow."""

from pathlib import Path

from runners.report.html import Markup, join, tag

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--sheet:#f5f6f8;--ink:#1c2128;--soft:#59636e;--edge:#d5dae0;
--good:#1a7f37;--bad:#c4262e;--c0:#0b62c4;--c1:#b35900;--c2:#7a3fb8;--l0:#6e7781;--l1:#1a7f37;--l2:#c4262e;--l3:#7a3fb8}
@media(prefers-color-scheme:dark){:root{--ground:#0f1318;--sheet:#181d24;--ink:#e5e9ee;--soft:#9aa5b1;--edge:#323a45;
--good:#4ac26b;--bad:#ff7b72;--c0:#6cb0ff;--c1:#f0a050;--c2:#c297ff;--l0:#9aa5b1;--l1:#4ac26b;--l2:#ff7b72;--l3:#c297ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;
overflow-wrap:anywhere}
main{max-width:62rem;margin:0 auto;padding:1.25rem 1rem 4rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.2rem;margin:2.25rem 0 .6rem;padding-top:.9rem;border-top:1px solid var(--edge)}
h3{font-size:1rem;margin:1.25rem 0 .4rem}
p{margin:.4rem 0;max-width:46rem}
a{color:var(--c0)}
.soft,small,caption{color:var(--soft)}
.badge{display:inline-block;padding:.1rem .6rem;border-radius:1rem;border:1px solid;font-weight:600;font-size:.85rem}
.good{color:var(--good)}.bad{color:var(--bad)}
.verdict{border-left:4px solid;padding:.5rem .9rem;background:var(--sheet);margin:1rem 0;max-width:none}
.verdict p{color:var(--ink);margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0;padding:0;
list-style:none}
.tiles li{background:var(--sheet);border:1px solid var(--edge);border-radius:.5rem;padding:.6rem .8rem}
.tiles b{display:block;font-size:1.45rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles span{font-size:.85rem;color:var(--soft)}
.scroll{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;min-width:100%;font-size:.9rem}
caption{text-align:left;padding:.2rem 0;font-size:.9rem}
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--edge);vertical-align:top;
overflow-wrap:normal}
thead th{color:var(--soft);font-weight:600;white-space:nowrap}
tbody th{font-weight:500}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.interval{display:block;font-size:.78rem}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));gap:1.2rem}
figure{margin:0}
figcaption{font-weight:600;font-size:.95rem}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}
svg .small{font-size:9px}
.grid{stroke:var(--edge)}
.line{fill:none;stroke-width:2.2}
.level{stroke-width:1.6;stroke-dasharray:6 4}
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}
.dot.c0{fill:var(--c0)}.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}
.level.l0{stroke:var(--l0)}.level.l1{stroke:var(--l1)}.level.l2{stroke:var(--l2)}.level.l3{stroke:var(--l3)}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;list-style:none;padding:0;margin:.2rem 0;font-size:.82rem;
color:var(--soft)}
.key{display:inline-block;width:1.3rem;border-top:3px solid;vertical-align:middle;margin-right:.35rem}
.key.c0{border-color:var(--c0)}.key.c1{border-color:var(--c1)}.key.c2{border-color:var(--c2)}
.key.level{border-top-style:dashed}
.key.l0{border-color:var(--l0)}.key.l1{border-color:var(--l1)}.key.l2{border-color:var(--l2)}.key.l3{border-color:var(--l3)}
.spot{outline:none}.spot rect{fill:transparent}
.spot line{stroke:var(--soft);stroke-width:1}.spot text{fill:var(--ink);font-weight:600}
.spot line,.spot text{opacity:0;pointer-events:none}
.spot:hover line,.spot:hover text,.spot:focus line,.spot:focus text{opacity:1}
svg:has(.spot:hover) .spot:focus:not(:hover) :is(line,text){opacity:0}
.bar{fill:var(--c0)}.bar.pale{opacity:.35}.count{fill:var(--l0)}
.values{margin:.2rem 0}.values summary{font-weight:400;font-size:.85rem;color:var(--soft)}
.values .scroll{max-height:20rem;overflow-y:auto}
.origin{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:1rem 0;font-size:.9rem}
.origin dt{color:var(--soft)}.origin dd{margin:0}
.contents{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;padding:0;margin:1rem 0;font-size:.9rem}
.token{background:var(--sheet);border:1px solid var(--edge);border-radius:.25rem;padding:0 .25rem}
.answers li{margin:.1rem 0}.example{display:inline-block;width:20rem;overflow-wrap:anywhere}
.diagonal{stroke:var(--ink);stroke-width:1.6;stroke-dasharray:6 4}.halo{stroke:var(--ground);stroke-width:4;opacity:.7}
code,pre{font:.85em ui-monospace,Menlo,Consolas,monospace}
pre{background:var(--sheet);border:1px solid var(--edge);border-radius:.4rem;padding:.7rem;overflow-x:auto}
details{margin:.6rem 0}summary{cursor:pointer;font-weight:600}
ol.answers{margin:0;padding-left:1.2rem}
mark{background:none;color:inherit;border-bottom:2px solid var(--c0);font-weight:600}
@media(max-width:40rem){thead th,thead th.n{white-space:normal}th,td{padding-right:.45rem}
td:last-child:not(.n){overflow-wrap:anywhere;min-width:7rem}td code{overflow-wrap:anywhere}
.interval{white-space:normal}.example{width:14rem}
.origin{grid-template-columns:1fr;gap:0}.origin dd{margin-bottom:.4rem}}
@media(max-width:30rem){main{padding:1rem .8rem 3rem}h1{font-size:1.25rem}.tiles{grid-template-columns:1fr 1fr}
.rows,.rows tbody{display:block}.rows thead{display:none}
.rows tr{display:grid;grid-template-columns:1fr 1fr 1fr;gap:.2rem .8rem;padding:.5rem 0;
border-bottom:1px solid var(--edge)}
.rows:has(.answers) tr{grid-template-columns:1fr 1fr}
.rows :is(th,td){border:0;min-width:0;padding:0;text-align:left;white-space:normal;overflow-wrap:anywhere}
.rows .whole{grid-column:1/-1}.rows .example{display:inline}
.rows [data-label]::before{content:attr(data-label);display:block;color:var(--soft);font-weight:400;font-size:.78rem}
.rows .whole::before{display:inline;margin-right:.5rem}}
@media print{:root{color-scheme:light;--ground:#fff;--sheet:#f5f6f8;--ink:#1c2128;--soft:#59636e;--edge:#d5dae0;
--good:#1a7f37;--bad:#c4262e;--c0:#0b62c4;--c1:#b35900;--c2:#7a3fb8;--l0:#6e7781;--l1:#1a7f37;--l2:#c4262e;--l3:#7a3fb8}
html{font-size:11px}body{font-size:1rem}main{max-width:none;padding:0}.contents,.values{display:none}.scroll{overflow:visible}
figure,tr,.tiles,.verdict{break-inside:avoid}h2,h3{break-after:avoid}pre{white-space:pre-wrap}
th,td,thead th{overflow-wrap:anywhere;white-space:normal}.example{width:auto}
.tiles li,.verdict,.key,.bar,.count{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


# Nothing from elsewhere is loaded and no script runs, whatever a corpus or a run has put into the page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def write_page(path: Path, title: str, *content: object) -> None:
    """Writes a page that needs no other file."""
    head = join(
        [
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            tag("title", title),
            tag("style", Markup(STYLE.strip())),
        ]
    )
    body = tag("body", tag("main", join(content)))
    path.write_text(f"<!doctype html>\n{tag('html', join([tag('head', head), body]), lang='en')}\n", encoding="utf-8")
