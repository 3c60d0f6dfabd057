"use strict";
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const boxes = all("input.method"), released = document.getElementById("released");
  const sorts = new Map(); // by id of a table: column and direction

  // A number sorts by its first number; what is none comes last in both directions.
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim().replace("−", "-"), number = parseFloat(text);
    return column && Number.isNaN(number) ? (/^[-n]/.test(text) ? null : text) : column ? number : text;
  };
  const compare = (one, other, sign) => {
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" && typeof other === "number"
      ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
    return sign * order;
  };
  const sort = (table, column, direction) => {
    for (const body of table.tBodies) {
      const rows = all("tr:not(.heading)", body);
      rows.forEach((row, place) => { row.dataset.place ??= place; });
      rows.sort((a, b) => direction && compare(value(a, column), value(b, column), direction)
        || a.dataset.place - b.dataset.place);
      body.append(...rows);
    }
    all("thead th", table).forEach((head, place) => {
      if (place === column && direction) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    if (direction) sorts.set(table.id, [column, direction]); else sorts.delete(table.id);
  };
  const stem = (table) => table.id.replace(/(clean|released)$/, ""); // the tables of both protocols are sorted alike
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const [before, direction] = sorts.get(table.id) ?? [];
        const next = before !== column ? 1 : direction > 0 ? -1 : 0;
        all("table.sortable").filter((one) => stem(one) === stem(table)).forEach((one) => sort(one, column, next));
        save();
      });
    });
  }

  // The address: #PLACE&hide=LABEL,...&protocol=released&sort=TABLE:COLUMN:DIRECTION,...
  let place = "";
  const save = () => {
    const hidden = boxes.filter((box) => !box.checked).map((box) => encodeURIComponent(box.value));
    const parts = [place];
    document.getElementById("hidden").textContent = hidden.length ? ` (${hidden.length} hidden)` : "";
    if (hidden.length) parts.push(`hide=${hidden.join(",")}`);
    if (released.checked) parts.push("protocol=released");
    if (sorts.size) parts.push(`sort=${[...sorts].map(([id, [c, d]]) => `${id}:${c}:${d}`).join(",")}`);
    history.replaceState(null, "", `#${parts.join("&")}`);
  };
  const reveal = (name) => {
    const target = name && document.getElementById(name);
    if (!target) return;
    for (let around = target; around; around = around.parentElement) if (around.localName === "details") around.open = true;
    all(".target").forEach((old) => old.classList.remove("target"));
    target.classList.add("target");
    target.scrollIntoView();
    if (target.tabIndex === -1) target.focus({ preventScroll: true });
  };
  const restore = () => {
    const [name, ...parts] = location.hash.slice(1).split("&");
    const state = Object.fromEntries(parts.map((part) => part.split("=")));
    if (parts.length) {
      const hidden = (state.hide ?? "").split(",").map(decodeURIComponent);
      boxes.forEach((box) => { box.checked = !hidden.includes(box.value); });
      document.getElementById(state.protocol === "released" ? "released" : "clean").checked = true;
      for (const entry of (state.sort ?? "").split(",").filter(Boolean)) {
        const [id, column, direction] = entry.split(":");
        const table = document.getElementById(id);
        if (table?.matches("table.sortable")) sort(table, Number(column), Math.sign(direction));
      }
    }
    place = name;
    reveal(name);
    save();
  };
  addEventListener("hashchange", restore);
  addEventListener("change", save);
  const choice = document.querySelector("details.methods");
  addEventListener("keydown", (event) => { choice.open &&= event.key !== "Escape"; });
  addEventListener("click", (event) => { choice.open &&= choice.contains(event.target); });

  // Tables as text are packed; otherwise they would be half of the page.
  const packed = document.getElementById("texts").content.textContent;
  let texts;
  const unpack = () => texts ??= new Response(
    new Blob([Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0))]).stream()
      .pipeThrough(new DecompressionStream("gzip"))).json();
  for (const details of all("details.sources")) {
    details.hidden = false;
    details.addEventListener("toggle", async () => {
      for (const text of all("pre", details)) text.textContent ||= (await unpack())[text.dataset.text];
    });
  }

  for (const text of all("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    text.before(button);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text);
        button.textContent = "Selected: copy with Ctrl-C";
      }
    });
  }
  if (location.hash) restore();
})();
