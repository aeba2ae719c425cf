"use strict";
// Columns sort on a click of their head; a link opens the fold that it points into. The page reads the same without this.
const collator = new Intl.Collator("en", { numeric: true });
const keyOf = (cell) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value));
function compare(a, b) {
  const x = keyOf(a), y = keyOf(b);
  if (x !== null && y !== null) return x - y;
  if (x !== null || y !== null) return x === null ? 1 : -1;
  return collator.compare(a.textContent, b.textContent);
}
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      body.append(...[...body.rows].sort((p, q) => sign * compare(p.cells[column], q.cells[column])));
    });
  });
}
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
// A table or figure that is wider than the screen says so.
const boxes = document.querySelectorAll(".scroll");
function mark() { for (const box of boxes) box.toggleAttribute("data-wide", box.scrollWidth > box.clientWidth + 1); }
addEventListener("resize", mark);
document.addEventListener("toggle", mark, true);
mark();
