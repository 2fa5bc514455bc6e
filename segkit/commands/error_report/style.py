"""The look of the page, beyond what it shares with the page of `segkit visualise`."""

from segkit.commands.visualise.style import STYLE as SHARED

STYLE = (
    SHARED
    + """
:root { --good: #2f855a; --bad: #c53030; --fill: #3b6ea8; --focus: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --good: #3fa56f; --bad: #e0594f; --fill: #6fa3dd; --focus: #6cb0ff; } }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }
a { color: inherit; text-decoration-color: var(--soft); }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 20px; }
dl.scores { display: flex; flex-wrap: wrap; gap: 10px; margin: 0 0 18px; }
dl.scores div { background: var(--wash); border-radius: 10px; padding: 8px 16px; }
dl.scores dd { font-size: 24px; font-variant-numeric: tabular-nums; }
.wide { overflow: auto; max-height: 80vh; margin: 0 0 14px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 8px; caption-side: top; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th, thead td { position: sticky; top: 0; background: var(--page); z-index: 2; color: var(--soft);
  vertical-align: bottom; font-weight: 400; }
tbody th, tfoot th { text-align: left; font-weight: 400; position: sticky; left: 0; background: var(--page);
  z-index: 1; }
td.words, th.words { text-align: left; }
thead th:first-child { text-align: left; left: 0; z-index: 3; }
tfoot th, tfoot td { font-weight: 600; border-top: 2px solid var(--line); }
tr:target > *, section:target { background: color-mix(in srgb, var(--focus) 18%, var(--page)); }
#images tbody th { max-width: 46vw; overflow-wrap: anywhere; white-space: normal; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; }
table button { text-decoration: underline dotted var(--soft); text-underline-offset: 3px; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
th[aria-sort] button { color: var(--ink); }
.class { display: inline-flex; align-items: center; gap: 7px; }
.class i { width: 12px; height: 12px; border-radius: 2px; border: 1px solid var(--line); flex: none; }
#matrix th span { max-width: 190px; overflow: hidden; text-overflow: ellipsis; }
#matrix thead th { text-align: left; padding: 4px 2px; }
#matrix thead th span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 190px;
  display: inline-block; }
#matrix tbody td { padding: 0; min-width: 44px; text-align: center; }
#matrix td.hit { background: color-mix(in srgb, var(--good) calc(75% * var(--share, 0)), transparent); }
#matrix td.miss { background: color-mix(in srgb, var(--bad) calc(90% * var(--share, 0)), transparent); }
#matrix td button { width: 100%; padding: 5px 2px; text-align: center; text-decoration: none; }
#matrix td button:hover, #matrix td button[aria-pressed=true] { box-shadow: inset 0 0 0 2px var(--focus); }
#chosen { background: var(--wash); border-radius: 10px; padding: 12px 16px; margin: 0 0 16px; }
#chosen ol { margin: 4px 0 0; padding-left: 24px; }
table.bars th:nth-child(2) { text-align: left; }
td.bar { min-width: 120px; width: 34%; } .bar svg { width: 100%; height: 12px; display: block; }
table.bars { width: 100%; max-width: 780px; }
svg .fill { fill: var(--fill); } svg .ground { fill: var(--wash); } svg .gap { fill: var(--bad); opacity: 0.55; }
svg line { stroke: var(--soft); stroke-dasharray: 4 3; } svg text { fill: var(--soft); font-size: 12px; }
.diagram { width: 100%; max-width: 420px; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 20px; }
.four { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 10px; }
.four button { display: block; width: 100%; cursor: zoom-in; } .four figure { margin: 0; }
dialog { border: 0; border-radius: 10px; padding: 10px; max-width: 98vw; max-height: 98vh; color: var(--ink);
  background: var(--page); }
dialog img { width: auto; max-width: 94vw; max-height: 86vh; min-width: min(80vw, 80vh); object-fit: contain;
  image-rendering: pixelated; }
dialog::backdrop { background: rgb(0 0 0 / 0.7); }
input[type=search] { font: inherit; padding: 6px 10px; width: min(420px, 100%); margin: 0 0 10px; color: inherit;
  background: var(--wash); border: 1px solid var(--line); border-radius: 8px; }
@media (max-width: 720px) { .four { grid-template-columns: repeat(2, minmax(0, 1fr)); } th, td { padding: 4px 6px; } }
"""
)
