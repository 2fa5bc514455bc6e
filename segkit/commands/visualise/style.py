"""The look of the page: light or dark as the reader's screen is, and in one column on a phone."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #63636b; --line: #d9d9de; --wash: #f5f5f7; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --soft: #a0a0aa; --line: #3a3a40; --wash: #222226; --page: #161618; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  color: var(--ink); background: var(--page); max-width: 1560px; margin: 0 auto; padding: 28px 20px 56px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 14px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 10px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }
h3 { font-size: 16px; margin: 0 0 8px; overflow-wrap: anywhere; }
h4 { font-size: 14px; margin: 0 0 6px; font-weight: 600; }
small { color: var(--soft); font-weight: 400; font-size: 0.85em; }
p { margin: 0 0 12px; color: var(--soft); }
code { font: 13px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  font-weight: 400; overflow-wrap: anywhere; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0 0 18px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 8px; padding: 0;
  font-size: 14px; }
ul.legend li { display: flex; align-items: center; gap: 6px; }
ul.legend i { width: 16px; height: 16px; border-radius: 3px; border: 1px solid var(--line); flex: none; }
i.ignored { background: repeating-linear-gradient(135deg, #dcdcdc 0 3px, #969696 3px 6px); }
i.scale { width: 90px !important; background: linear-gradient(90deg, #000, #f00 33.3%, #ff0 66.7%, #fff); }
details summary { cursor: pointer; color: var(--soft); font-size: 14px; margin-bottom: 8px; }
section { background: var(--wash); border-radius: 10px; padding: 14px; margin: 0 0 16px; }
.groups { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); column-gap: 14px; }
.group { min-width: 0; display: grid; grid-row: span var(--rows); grid-template-rows: subgrid; align-items: start; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 12px; align-items: start; }
figure { margin: 0 0 10px; }
img { display: block; width: 100%; height: auto; border-radius: 4px; image-rendering: auto; }
.strip img { width: auto; max-width: 100%; }
figcaption { font-size: 13px; color: var(--soft); margin-top: 3px; }
footer { margin-top: 36px; color: var(--soft); font-size: 13px; }
@media (max-width: 560px) {
  body { padding: 18px 12px 40px; }
  section { padding: 10px; }
  .groups, .strip { grid-template-columns: repeat(2, minmax(0, 1fr)); column-gap: 8px; }
}
"""
