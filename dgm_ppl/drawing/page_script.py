"""What the interactive page runs and how it looks: one script and one style sheet, without any library.

`reach` is the reachability form of d-separation (Koller and Friedman, 2009, algorithm 3.1).
"""

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root { color-scheme: light; --open: #d55e00; --blanket: #0072b2; --known: #d3d3d3; }
* { box-sizing: border-box; }
body { margin: 0; display: flex; height: 100vh; overflow: hidden; font: 14px/1.45 Helvetica, Arial, sans-serif; color: #222; background: #fff; }
main { flex: 1; min-width: 0; }
main > svg { display: block; width: 100%; height: 100%; cursor: grab; touch-action: none; user-select: none; }
aside { width: 19em; padding: 1.2em; overflow: auto; border-left: 1px solid #ddd; background: #fafafa; }
h1 { font-size: 1.15em; margin: 0 0 .4em; } h2 { font-size: 1em; margin: 1.1em 0 .2em; }
p { margin: .3em 0; overflow-wrap: anywhere; } pre { white-space: pre-wrap; font-size: 12px; margin: .3em 0; }
label { display: block; cursor: pointer; } kbd { border: 1px solid #bbb; border-radius: 3px; padding: 0 .3em; background: #fff; }
button { font: inherit; margin-top: .8em; }
g.node, g.edge { transition: opacity .12s; } g.node { cursor: pointer; } g.node:focus { outline: none; }
svg.busy g.node:not(.lit):not(.chosen):not(.known), svg.busy g.edge:not(.lit) { opacity: .22; }
g.node.known a > :first-child { fill: var(--known); }
g.node.chosen a > :first-child { stroke-width: 3; }
g.node.lit a > :first-child { stroke: var(--light); stroke-width: 2.2; }
g.edge.lit path { stroke: var(--light); stroke-width: 2.4; } g.edge.lit polygon { stroke: var(--light); fill: var(--light); }
"""

SCRIPT = """
"use strict";

function neighbours(graph) {
  const parents = graph.names.map(() => []), children = graph.names.map(() => []);
  for (const [a, b] of graph.edges) { children[a].push(b); parents[b].push(a); }
  return { parents, children };
}

function blanket(graph, node) {
  const { parents, children } = neighbours(graph);
  const found = new Set([...parents[node], ...children[node], ...children[node].flatMap(child => parents[child])]);
  found.delete(node);
  return found;
}

function ancestors(parents, nodes) {
  const found = new Set(nodes), waiting = [...nodes];
  while (waiting.length) {
    for (const parent of parents[waiting.pop()]) if (!found.has(parent)) { found.add(parent); waiting.push(parent); }
  }
  return found;
}

function reach(graph, source, given) {
  const { parents, children } = neighbours(graph), opened = ancestors(parents, given);
  const nodes = new Set(), edges = new Set(), seen = new Set(), waiting = [[source, true]];
  const go = (parent, child, upwards) => {
    const next = upwards ? parent : child;
    if (!given.has(next) || (!upwards && parents[next].length > 1)) edges.add(parent + " " + child);
    waiting.push([next, upwards]);
  };
  while (waiting.length) {
    const [node, upwards] = waiting.pop(), key = node + (upwards ? "^" : "v");
    if (seen.has(key)) continue;
    seen.add(key);
    if (!given.has(node)) nodes.add(node);
    if (upwards ? !given.has(node) : opened.has(node)) for (const parent of parents[node]) go(parent, node, true);
    if (!given.has(node)) for (const child of children[node]) go(node, child, false);
  }
  nodes.delete(source);
  return { nodes, edges };
}

function start(graph) {
  const svg = document.querySelector("main > svg"), panel = document.querySelector("#about");
  const marks = graph.marks.map(id => document.getElementById(id));
  const known = new Set(graph.known);
  let chosen = null;

  const listed = nodes => [...nodes].filter(i => i < graph.shown).sort((a, b) => a - b).map(i => graph.names[i]).join(", ") || "none";
  const write = (tag, text) => { const e = document.createElement(tag); e.textContent = text; panel.append(e); };
  const view = () => document.querySelector("input[name=view]:checked").value;

  function light(nodes, parts, color) {
    svg.style.setProperty("--light", color);
    for (const i of nodes) marks[i]?.classList.add("lit");
    for (const id of parts) document.getElementById(id)?.classList.add("lit");
  }

  function partsOf(edges) { return [...edges].flatMap(edge => graph.parts[edge] ?? []); }

  function showBlanket(node) {
    const found = blanket(graph, node), inside = new Set([...found, node]);
    const edges = graph.edges.filter(([a, b]) => inside.has(a) && inside.has(b)).map(edge => edge.join(" "));
    light(found, partsOf(edges), "var(--blanket)");
    const { parents, children } = neighbours(graph);
    write("h2", "Parents"); write("p", listed(parents[node]));
    write("h2", "Children"); write("p", listed(children[node]));
    write("h2", "Markov blanket"); write("p", listed(found));
  }

  function showPaths(node) {
    const given = new Set([...known].filter(i => i !== node)), { nodes, edges } = reach(graph, node, given);
    light(nodes, partsOf(edges), "var(--open)");
    const apart = graph.names.map((_, i) => i).filter(i => i !== node && !nodes.has(i) && !given.has(i));
    write("h2", "Evidence"); write("p", listed(given));
    write("h2", "Open paths to"); write("p", listed(nodes));
    write("h2", "Independent of"); write("p", listed(apart));
  }

  function refresh(node) {
    panel.replaceChildren();
    document.querySelectorAll(".lit, .chosen").forEach(e => e.classList.remove("lit", "chosen"));
    marks.forEach((mark, i) => mark?.classList.toggle("known", known.has(i)));
    svg.classList.toggle("busy", node !== null);
    if (node === null) { write("p", graph.help); return; }
    marks[node].classList.add("chosen");
    write("h1", graph.names[node]);
    write("pre", graph.about[node]);
    if (view() === "paths" && graph.directed) showPaths(node); else showBlanket(node);
  }

  function toggle(node) { if (!known.delete(node)) known.add(node); refresh(chosen); }

  let moved = false;
  marks.forEach((mark, i) => {
    if (!mark) return;
    mark.tabIndex = 0;
    mark.addEventListener("mouseenter", () => { if (chosen === null) refresh(i); });
    mark.addEventListener("mouseleave", () => { if (chosen === null) refresh(null); });
    mark.addEventListener("click", event => {
      event.preventDefault(); event.stopPropagation();
      if (moved) return;
      if (event.shiftKey) toggle(i); else { chosen = chosen === i ? null : i; refresh(chosen); }
    });
    mark.addEventListener("keydown", event => {
      if (event.key === "Enter") { chosen = i; refresh(i); }
      if (event.key === "e") toggle(i);
    });
  });
  document.querySelectorAll("input[name=view]").forEach(e => e.addEventListener("change", () => refresh(chosen)));
  document.querySelector("#clear").addEventListener("click", () => { known.clear(); chosen = null; refresh(null); });
  svg.addEventListener("click", () => { if (!moved) { chosen = null; refresh(null); } });

  const whole = svg.viewBox.baseVal, first = [whole.x, whole.y, whole.width, whole.height];
  const place = event => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    const at = place(event), by = Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 300);
    whole.x = at.x + (whole.x - at.x) * by; whole.y = at.y + (whole.y - at.y) * by;
    whole.width *= by; whole.height *= by;
  }, { passive: false });
  let hold = null;
  svg.addEventListener("pointerdown", event => { hold = place(event); moved = false; });
  svg.addEventListener("pointermove", event => {
    if (!hold || !event.buttons) return;
    const at = place(event);
    if (Math.hypot(at.x - hold.x, at.y - hold.y) > 3) moved = true;
    whole.x += hold.x - at.x; whole.y += hold.y - at.y;
  });
  window.addEventListener("pointerup", () => { hold = null; });
  svg.addEventListener("dblclick", () => { [whole.x, whole.y, whole.width, whole.height] = first; });
  refresh(null);
}
"""
