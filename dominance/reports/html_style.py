"""The look of the HTML report, and the little that it does: the map is filtered by name, and sorted by a column."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#222;--pale:#e9e6de;--rule:#c8c5bd;--alarm:#a83a0c}
@media(prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#e4e2dc;--pale:#2a2d33;--rule:#4a4d55;--alarm:#f0ab5c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
li.alarm strong{color:var(--alarm)}ol li{margin:.6rem 0}
code{font:.9em ui-monospace,monospace;background:var(--pale);padding:0 .25em;border-radius:3px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;font-size:.85rem}
.legend i{display:inline-block;width:1.1em;height:.7em;margin-right:.35em;background:var(--c)}
label{font-size:.9rem}input{font:inherit;background:var(--paper);color:inherit;border:1px solid var(--rule)}
.wide{overflow:auto;max-height:75vh}table{border-collapse:collapse;width:100%;font-size:.85rem;margin-top:.5rem}
th,td{text-align:left;padding:.1rem .5rem;white-space:nowrap;font-weight:normal;border-bottom:1px solid var(--pale)}
thead th{position:sticky;top:0;background:var(--paper)}
td.map{width:50%;min-width:12rem}
.runs td.map{width:auto;min-width:4rem}.runs td{white-space:normal}
tbody tr:first-child>*{border-bottom:2px solid var(--rule)}
.strip{display:block;width:100%;height:1.1rem;background:#e9e6de;shape-rendering:crispEdges}
button{font:inherit;font-weight:600;background:none;border:0;padding:0;color:inherit;cursor:pointer}
button{text-decoration:underline dotted}
[aria-sort=ascending] button::after{content:" \\25b2"}[aria-sort=descending] button::after{content:" \\25bc"}
.charts{display:flex;flex-wrap:wrap;gap:1rem}.charts h2{width:100%}figure{flex:1 1 24rem;margin:0;min-width:18rem}
figcaption{font-weight:600;font-size:.9rem}figure>svg{width:100%;height:auto}
figure>svg text{font-size:11px;fill:var(--ink)}.axis,.ref{stroke:var(--rule);fill:none}.ref{stroke-dasharray:4 3}
.line{fill:none;stroke-width:1.6}.line:hover{stroke-width:3}
details summary{cursor:pointer;font-weight:600}figure{break-inside:avoid}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.9rem}dd{margin:0}
@media print{label,.wide{overflow:visible;max-height:none}label{display:none}body{font-size:11px}tr{break-inside:avoid}}
"""

SCRIPT = """
(function(){
const table=document.getElementById("map");if(!table)return;
const body=table.tBodies[0],rows=[...body.rows];
document.getElementById("filter").addEventListener("input",e=>{
  const text=e.target.value.toLowerCase();
  rows.forEach((r,i)=>r.hidden=i>0&&!r.cells[0].textContent.toLowerCase().includes(text));});
table.querySelectorAll("button").forEach(b=>b.addEventListener("click",()=>{
  const head=b.parentElement,c=+b.dataset.column,up=head.getAttribute("aria-sort")!=="ascending";
  table.querySelectorAll("th").forEach(h=>h.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort",up?"ascending":"descending");
  const key=r=>{const v=r.cells[c].dataset.v;return v===""?Infinity:+v;};
  rows.slice(1).sort((a,b)=>(up?1:-1)*(key(a)-key(b))).forEach(r=>body.append(r));}));
})();
"""
