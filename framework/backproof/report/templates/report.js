"use strict";
// Interaction: tooltips, highlighting a point everywhere, sorting tables, selecting ranges on the axes.
const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
const tip = document.getElementById("tip");

document.addEventListener("mousemove", (event) => {
  const on = event.target.closest("[data-tip]");
  tip.style.display = on ? "block" : "none";
  if (!on) return;
  tip.textContent = on.dataset.tip;
  const right = event.clientX + 16 + tip.offsetWidth > window.innerWidth;
  tip.style.left = (right ? event.clientX - 12 - tip.offsetWidth : event.clientX + 14) + "px";
  tip.style.top = Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 6) + "px";
});

let lit = null;
document.addEventListener("mouseover", (event) => {
  const on = event.target.closest("[data-p]");
  const point = on ? on.dataset.p : null;
  if (point === lit) return;
  all(".hot").forEach((element) => element.classList.remove("hot"));
  if (point !== null) all('[data-p="' + point + '"]').forEach((element) => element.classList.add("hot"));
  lit = point;
});

all("table.sorts").forEach((table) => {
  const heads = all("th", table);
  heads.forEach((head) => {
    head.tabIndex = 0;
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") head.click(); });
  });
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.v;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows).sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    });
    rows.forEach((row) => body.append(row));
  }));
});

all("button[data-all]").forEach((button) => button.addEventListener("click", () => {
  button.previousElementSibling.classList.add("all");
  button.remove();
}));

all("pre").forEach((pre) => {
  const command = pre.textContent;
  const button = document.createElement("button");
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", () => {
    // Without access to the clipboard, select the command so that it can be copied by hand.
    const mark = () => { getSelection().selectAllChildren(pre); button.textContent = "Press Ctrl+C"; };
    if (!navigator.clipboard) { mark(); return; }
    navigator.clipboard.writeText(command).then(() => { button.textContent = "Copied"; }, mark);
  });
  pre.append(button);
});

const chart = document.querySelector("svg.parallel");
if (chart) {
  const ranges = new Map();
  const reset = document.getElementById("reset");
  const height = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse()).y;
  const show = () => {
    const inside = new Set();
    all("path.run", chart).forEach((run) => {
      const heights = run.dataset.y.split(" ").map(Number);
      const out = [...ranges].some(([axis, [low, high]]) => heights[axis] < low || heights[axis] > high);
      run.classList.toggle("out", out);
      if (!out) inside.add(run.dataset.p);
    });
    all("#points tbody tr").forEach((row) => row.classList.toggle("out", !inside.has(row.dataset.p)));
    all("rect.chosen", chart).forEach((mark) => {
      const range = ranges.get(+mark.dataset.axis);
      mark.setAttribute("y", range ? range[0] : 0);
      mark.setAttribute("height", range ? range[1] - range[0] : 0);
    });
    reset.hidden = ranges.size === 0;
  };
  all("rect.grip", chart).forEach((grip) => {
    let start = null;
    const axis = +grip.dataset.axis;
    grip.addEventListener("pointerdown", (event) => {
      start = height(event);
      grip.setPointerCapture(event.pointerId);
    });
    grip.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const now = height(event);
      ranges.set(axis, [Math.min(start, now), Math.max(start, now)]);
      show();
    });
    grip.addEventListener("pointerup", (event) => {
      // A click removes the range.
      if (Math.abs(height(event) - start) < 4) { ranges.delete(axis); show(); }
      start = null;
    });
  });
  reset.addEventListener("click", () => { ranges.clear(); show(); });
}
